package alloc

import (
	"fmt"
	"iter"
	"net/netip"
	"time"

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

// Pool is what a network gives addresses from, and how: one address of each set to an attachment.
type Pool struct {
	Sets     []Set
	Exclude  []netip.Prefix // never given, whoever asks
	Cooldown time.Duration  // for which a freed address is kept from all but the pod that had it
}

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

// excluded returns the excluded block that an address is in.
func (p Pool) excluded(a netip.Addr) (netip.Prefix, bool) {
	for _, block := range p.Exclude {
		if block.Contains(a) {
			return block, true
		}
	}
	return netip.Prefix{}, false
}

// usable tells whether an address of a range may be a container's.
func (p Pool) usable(r Range, a netip.Addr) bool {
	_, excluded := p.excluded(a)
	return r.usable(a) && !excluded
}

// candidates goes through the usable addresses of a set, from the one after last to the end and on from the beginning, so that a freed
// address rests as long as the set has others. It leaps over excluded blocks, which may be half of an IPv6 subnet.
func (p Pool) candidates(set Set, last netip.Addr) iter.Seq[Assignment] {
	start := 0
	for i, r := range set {
		if r.Contains(last) {
			start = i
		}
	}
	return func(yield func(Assignment) bool) {
		for i := range len(set) + 1 { // the first range twice: after last, then before it
			r := set[(start+i)%len(set)]
			a := r.First
			if i == 0 && r.Contains(last) {
				a = last.Next()
			}
			for a.IsValid() && r.Contains(a) {
				if block, skip := p.excluded(a); skip {
					a = lastAddr(block).Next()
					continue
				}
				if r.usable(a) && !yield(Assignment{Addr: a, Range: r}) {
					return
				}
				a = a.Next()
			}
		}
	}
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

// Check refuses a pool with a set whose addresses are all excluded, or a gateway's.
func (p Pool) Check() error {
	for i, set := range p.Sets {
		some := false
		for range p.candidates(set, netip.Addr{}) {
			some = true
			break
		}
		if !some {
			return errdefs.Invalid("range set %d has no address that could be given: %v", i, set)
		}
	}
	return nil
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
