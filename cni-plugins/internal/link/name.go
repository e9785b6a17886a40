package link

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
)

// Groups mark links of berth's plugins (IFLA_GROUP, shown by "ip -d link"). They spell "brt" and a number.
const (
	groupBridge    = 0x62727401 // bridges made by EnsureBridge
	groupCondemned = 0x62727402 // links to be deleted
)

// hostPrefix begins the names of host links. Network managers leave veth* alone.
const (
	hostPrefix        = "veth"
	networkLetters    = 4
	attachmentLetters = 7
)

// HostName is the name of the host's end of an attachment's link: a pure function of the attachment, so that DEL and GC find it without
// a record. Four characters tell the network, seven the attachment in it (20 and 35 bits).
func HostName(network, containerID, ifName string) string {
	return networkPrefix(network) + hash(containerID+"/"+ifName, attachmentLetters)
}

// isHostName tells whether a link may have been named by HostName for a network. Others name links veth… too, but shorter.
func isHostName(name, network string) bool {
	return len(name) == len(hostPrefix)+networkLetters+attachmentLetters && strings.HasPrefix(name, networkPrefix(network))
}

func networkPrefix(network string) string { return hostPrefix + hash(network, networkLetters) }

func hash(s string, size int) string {
	sum := sha256.Sum256([]byte(s))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:size]
}

// condemnedName is unique among the links that exist, as the index is.
func condemnedName(index int) string { return fmt.Sprintf("dead%x", index) }
