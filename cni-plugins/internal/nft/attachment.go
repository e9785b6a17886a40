package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Protocol is the number of a transport protocol in IP.
type Protocol uint8

// The protocols that can be published.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String implements fmt.Stringer.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// Port publishes one port of a pod. Host is the zero address of the pod's family for all addresses of the node. Ports can be compared.
type Port struct {
	Protocol Protocol
	Host     netip.AddrPort
	Pod      netip.AddrPort
	Match    Match `json:",omitzero"`
}

// String implements fmt.Stringer.
func (p Port) String() string { return fmt.Sprintf("%s/%s", p.Host, p.Protocol) }

// Attachment is what one owner needs of the table.
type Attachment struct {
	Owner      Owner
	Link       string         // of the host, towards the pod
	Masquerade []netip.Prefix // subnets behind the link that are hidden from the outside
	Ports      []Port
	Isolated   bool // the node does not route between the link and others that are isolated, except to published ports
	Internal   bool // the node does not route between the link and any other
	Private    bool // the node does not route back to the link what came from it
	Closed     bool // what comes from elsewhere to the link goes to published ports alone
	MasqAll    bool // who uses a published port looks like the node to the pod
	NoSNAT     bool // leave source addresses alone, at the price that pods behind the link and the node's 127.0.0.1 can't use the ports
}

// validate refuses what would become a wrong element.
func (a Attachment) validate() error {
	if a.Link == "" || len(a.Link) >= nameSize {
		return errdefs.Bug("publish for %s: link %q", a.Owner, a.Link)
	}
	for _, p := range a.Ports {
		if p.Host.Addr().Is4() != p.Pod.Addr().Is4() || p.Host.Port() == 0 || p.Pod.Port() == 0 || !p.Pod.Addr().IsValid() {
			return errdefs.Bug("publish %s to %s", p, p.Pod)
		}
		if m := p.match(); m.Links[0].after(m.Links[1]) || m.From[1].Less(m.From[0]) || m.To[1].Less(m.To[0]) || m.From[0].Is4() != p.Pod.Addr().Is4() {
			return errdefs.Bug("publish %s for no packet", p)
		}
	}
	return nil
}

// nameSize is IFNAMSIZ, the size of a link's name in a key.
const nameSize = 16

// portKey is protocol . address . port, each padded to four bytes as the kernel concatenates them.
func (p Port) key() []byte {
	return append(append([]byte{byte(p.Protocol), 0, 0, 0}, p.Host.Addr().AsSlice()...), portBytes(p.Host.Port())...)
}

func (p Port) value() []byte {
	return append(p.Pod.Addr().AsSlice(), portBytes(p.Pod.Port())...)
}

func portBytes(port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(nil, port), 0, 0)
}

// decodePort reads an element of ports4 or ports6.
func decodePort(key, value []byte) (Port, bool) {
	host, ok1 := netip.AddrFromSlice(middle(key, 4))
	pod, ok2 := netip.AddrFromSlice(middle(value, 0))
	if !ok1 || !ok2 || len(key) != 8+host.BitLen()/8 || len(value) != 4+pod.BitLen()/8 {
		return Port{}, false
	}
	return Port{
		Protocol: Protocol(key[0]),
		Host:     netip.AddrPortFrom(host, binary.BigEndian.Uint16(key[len(key)-4:])),
		Pod:      netip.AddrPortFrom(pod, binary.BigEndian.Uint16(value[len(value)-4:])),
	}, true
}

// middle is what stands between skip bytes and the port; nil if there is no room.
func middle(b []byte, skip int) []byte {
	if len(b) < skip+4 {
		return nil
	}
	return b[skip : len(b)-4]
}

func nameKey(name string) []byte {
	key := make([]byte, nameSize)
	copy(key, name)
	return key
}

func linkKey(name string) []byte { return append(nameKey(name), nameKey(name)...) }

// masqKey are the ends of link . subnet.
func masqKey(link string, subnet netip.Prefix) (first, last []byte) {
	end := subnet.Masked().Addr().AsSlice()
	for i := subnet.Bits(); i < len(end)*8; i++ {
		end[i/8] |= 0x80 >> (i % 8)
	}
	return append(nameKey(link), subnet.Masked().Addr().AsSlice()...), append(nameKey(link), end...)
}

// keyName is the name at the start of a key.
func keyName(key []byte) string {
	name, _, _ := strings.Cut(string(key[:min(nameSize, len(key))]), "\x00")
	return name
}

// Conflicts tells whether two ports can't both be published: same protocol, port and family, and packets that are for both.
func (p Port) Conflicts(other Port) bool {
	return p.slot() == other.slot() && p.match().overlaps(other.match())
}

// slot is equal for ports that may be in each other's way.
type slot struct {
	protocol Protocol
	port     uint16
	is4      bool
}

func (p Port) slot() slot { return slot{p.Protocol, p.Host.Port(), p.Host.Addr().Is4()} }

// Taken are ports, to find conflicts among thousands.
type Taken map[slot][]Port

// Add adds a port.
func (t Taken) Add(p Port) { t[p.slot()] = append(t[p.slot()], p) }

// Find returns a port that conflicts.
func (t Taken) Find(p Port) (Port, bool) {
	for _, have := range t[p.slot()] {
		if p.Conflicts(have) {
			return have, true
		}
	}
	return Port{}, false
}

// loopbacks are the addresses of the node's lo that ports are to be reached at: 127.0.0.1, ::1.
func (a Attachment) loopbacks() []netip.Addr {
	if a.NoSNAT {
		return nil
	}
	v4, v6 := false, false
	for _, p := range a.Ports {
		host := p.Host.Addr()
		v4 = v4 || host.Is4() && (host.IsUnspecified() || host.IsLoopback())
		v6 = v6 || host == netip.IPv6Loopback()
	}
	var list []netip.Addr
	if v4 {
		list = append(list, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	if v6 {
		list = append(list, netip.IPv6Loopback())
	}
	return list
}
