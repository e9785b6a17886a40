package nft

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Owner is one interface of one container in one network.
type Owner struct {
	Network, ContainerID, IfName string
}

// partMax bounds a part of a tag. nft(8) shows comments of up to 128 bytes; the kernel keeps 256.
const partMax = 72

// tag is the comment of an element: network/container/interface. None of them can hold a slash or a blank.
func tag(o Owner) string {
	return short(o.Network) + "/" + short(o.ContainerID) + "/" + o.IfName
}

// short cuts an overlong name in a way that keeps different names different.
func short(s string) string {
	if len(s) <= partMax {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return s[:partMax-17] + "~" + hex.EncodeToString(sum[:8])
}

// parseTag returns the owner in a comment, with the names as they are after short.
func parseTag(comment string) (Owner, bool) {
	network, rest, ok1 := strings.Cut(comment, "/")
	container, name, ok2 := strings.Cut(rest, "/")
	if !ok1 || !ok2 || strings.Contains(name, "/") {
		return Owner{}, false
	}
	return Owner{Network: network, ContainerID: container, IfName: name}, true
}

// shortened is the owner as it appears in tags.
func (o Owner) shortened() Owner {
	return Owner{Network: short(o.Network), ContainerID: short(o.ContainerID), IfName: o.IfName}
}

// String names the owner for people.
func (o Owner) String() string {
	return "interface " + o.IfName + " of container " + o.ContainerID + " in network " + o.Network
}
