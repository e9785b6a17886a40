package alloc

import (
	"fmt"
	"net/netip"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Range is a part of a subnet, both ends included.
type Range struct {
	Subnet      netip.Prefix
	First, Last netip.Addr
	Gateway     netip.Addr // never handed out
}

// Set is a list of ranges of one address family, from which an attachment gets one address.
type Set []Range

// NewRange fills in what is not given: everything but the network address, the gateway and the IPv4 broadcast address.
func NewRange(subnet netip.Prefix, first, last, gateway netip.Addr) (Range, error) {
	switch {
	case !subnet.IsValid():
		return Range{}, errdefs.Invalid("range without a subnet")
	case subnet != subnet.Masked():
		return Range{}, errdefs.Invalid("subnet %s has host bits set; its network address is %s", subnet, subnet.Masked())
	case subnet.Addr().BitLen()-subnet.Bits() < 2:
		return Range{}, errdefs.Invalid("subnet %s is too small: it has no room for a gateway and a container", subnet)
	}
	r := Range{Subnet: subnet, First: first, Last: last, Gateway: gateway}
	if !r.Gateway.IsValid() {
		r.Gateway = subnet.Addr().Next()
	}
	if !r.First.IsValid() {
		r.First = subnet.Addr().Next()
	}
	if !r.Last.IsValid() {
		r.Last = lastAddr(subnet)
		if subnet.Addr().Is4() {
			r.Last = r.Last.Prev()
		}
	}
	for name, a := range map[string]netip.Addr{"rangeStart": r.First, "rangeEnd": r.Last} {
		if !subnet.Contains(a) {
			return Range{}, errdefs.Invalid("%s %s is not in subnet %s", name, a, subnet)
		}
	}
	if r.Last.Less(r.First) {
		return Range{}, errdefs.Invalid("rangeStart %s is after rangeEnd %s", r.First, r.Last)
	}
	if r.Gateway.Is4() != subnet.Addr().Is4() {
		return Range{}, errdefs.Invalid("gateway %s and subnet %s are of different families", r.Gateway, subnet)
	}
	return r, nil
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b) // 4 or 16 bytes, so it can't fail
	return a
}

// Contains tells whether an address belongs to the range, whether or not it may be handed out.
func (r Range) Contains(a netip.Addr) bool {
	return r.Subnet.Contains(a) && !a.Less(r.First) && !r.Last.Less(a)
}

// usable tells whether an address of the range may be a container's.
func (r Range) usable(a netip.Addr) bool {
	return a != r.Gateway && a != r.Subnet.Addr() && (a.Is6() || a != lastAddr(r.Subnet))
}

// String implements fmt.Stringer.
func (r Range) String() string { return fmt.Sprintf("%s-%s", r.First, r.Last) }

// Find returns the range of the set that an address belongs to.
func (s Set) Find(a netip.Addr) (Range, bool) {
	for _, r := range s {
		if r.Contains(a) {
			return r, true
		}
	}
	return Range{}, false
}

// CheckSets refuses empty sets, sets that mix address families, and ranges that overlap.
func CheckSets(sets []Set) error {
	if len(sets) == 0 {
		return errdefs.Invalid("no address ranges are given")
	}
	var all []Range
	for i, s := range sets {
		if len(s) == 0 {
			return errdefs.Invalid("range set %d is empty", i)
		}
		for _, r := range s {
			if r.Subnet.Addr().Is4() != s[0].Subnet.Addr().Is4() {
				return errdefs.Invalid("range set %d mixes IPv4 and IPv6", i)
			}
			for _, other := range all {
				if !r.Last.Less(other.First) && !other.Last.Less(r.First) {
					return errdefs.Invalid("range %s overlaps range %s", r, other)
				}
			}
			all = append(all, r)
		}
	}
	return nil
}
