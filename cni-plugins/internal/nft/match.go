package nft

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// LinkName is a link's name as a set holds it: IFNAMSIZ bytes, the rest of them zero.
type LinkName [nameSize]byte

func (l LinkName) after(other LinkName) bool { return bytes.Compare(l[:], other[:]) > 0 }

// Match narrows down which packets a published port is for: by the link that they came by, their source and the address that
// they were sent to. Each is a range, whose ends belong to it; what the node itself sends came by the link "". The zero Match takes all.
type Match struct {
	Links    [2]LinkName
	From, To [2]netip.Addr
}

// MatchAll is the Match that takes all packets of a family, to be narrowed down.
func MatchAll(is4 bool) Match {
	last := netip.AddrFrom16([16]byte(bytes.Repeat([]byte{0xff}, 16)))
	all := [2]netip.Addr{netip.IPv6Unspecified(), last}
	if is4 {
		all = [2]netip.Addr{netip.IPv4Unspecified(), netip.AddrFrom4([4]byte(bytes.Repeat([]byte{0xff}, 4)))}
	}
	return Match{Links: [2]LinkName{{}, LinkName(bytes.Repeat([]byte{0xff}, nameSize))}, From: all, To: all}
}

// match is that of a port, narrowed down to its host address.
func (p Port) match() Match {
	m := p.Match
	if m == (Match{}) {
		m = MatchAll(p.Host.Addr().Is4())
	}
	if !p.Host.Addr().IsUnspecified() {
		m.To = [2]netip.Addr{p.Host.Addr(), p.Host.Addr()}
	}
	return m
}

// overlaps tells whether a packet can be for both. They are of one family.
func (m Match) overlaps(o Match) bool {
	return !m.Links[0].after(o.Links[1]) && !o.Links[0].after(m.Links[1]) &&
		meet(m.From, o.From) && meet(m.To, o.To)
}

func meet(a, b [2]netip.Addr) bool { return a[0].Compare(b[1]) <= 0 && b[0].Compare(a[1]) <= 0 }

// whenKeys are the ends of protocol . port . link . source . destination.
func (p Port) whenKeys() (first, last []byte) {
	m := p.match()
	key := func(i int) []byte {
		b := append([]byte{byte(p.Protocol), 0, 0, 0}, portBytes(p.Host.Port())...)
		b = append(b, m.Links[i][:]...)
		return append(append(b, m.From[i].AsSlice()...), m.To[i].AsSlice()...)
	}
	return key(0), key(1)
}

// decodeWhen reads an element of when4 or when6.
func decodeWhen(first, last, value []byte) (Port, bool) {
	const fixed = 8 + nameSize
	pod, ok := netip.AddrFromSlice(middle(value, 0))
	size := pod.BitLen() / 8
	if !ok || len(first) != fixed+2*size || len(last) != len(first) {
		return Port{}, false
	}
	var m Match
	for i, key := range [][]byte{first, last} {
		m.Links[i] = LinkName(key[8:fixed])
		m.From[i], _ = netip.AddrFromSlice(key[fixed : fixed+size])
		m.To[i], _ = netip.AddrFromSlice(key[fixed+size:])
	}
	host := m.To[0]
	if m.To[0] != m.To[1] {
		host = netip.IPv6Unspecified()
		if pod.Is4() {
			host = netip.IPv4Unspecified()
		}
	}
	return Port{
		Protocol: Protocol(first[0]), Match: m,
		Host: netip.AddrPortFrom(host, binary.BigEndian.Uint16(first[4:])),
		Pod:  netip.AddrPortFrom(pod, binary.BigEndian.Uint16(value[len(value)-4:])),
	}, true
}
