package alloc

import (
	"net/netip"
	"slices"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Owner is one interface of one container.
type Owner struct {
	ContainerID, IfName string
}

// Entry is one address that is taken. Netns and Inode name the owner's network namespace at the time, "" and 0 if unknown.
type Entry struct {
	Addr  netip.Addr
	Owner Owner
	Netns string
	Inode uint64
}

// State is what a network's addresses are used for.
type State struct {
	Entries []Entry
	Last    []netip.Addr // by index of the set: the address handed out last, from which the search goes on
}

// Of returns the addresses of an owner.
func (s *State) Of(o Owner) []netip.Addr {
	var list []netip.Addr
	for _, e := range s.Entries {
		if e.Owner == o {
			list = append(list, e.Addr)
		}
	}
	return list
}

// Release frees the addresses of all owners that keep does not want, and tells whether there were any.
func (s *State) Release(keep func(Entry) bool) bool {
	before := len(s.Entries)
	s.Entries = slices.DeleteFunc(s.Entries, func(e Entry) bool { return !keep(e) })
	return len(s.Entries) != before
}

// Assignment is an address given to an owner, with the range that it is from.
type Assignment struct {
	Addr  netip.Addr
	Range Range
}

// Assign gives an owner one address of each set: the one in want that belongs to the set, else the next free one. If a set has none
// left, addresses whose owner is not alive are taken back first. On an error the state is as before.
func (s *State) Assign(sets []Set, want []netip.Addr, e Entry, alive func(Entry) bool) ([]Assignment, error) {
	if have := s.Of(e.Owner); len(have) > 0 {
		return nil, errdefs.Exists("assign an address to interface %s of container %s: it has %v already; DEL frees it", e.Owner.IfName, e.Owner.ContainerID, have)
	}
	work := State{Entries: slices.Clone(s.Entries), Last: slices.Clone(s.Last)}
	var given []Assignment
	for i, set := range sets {
		asked, rest := takeWanted(set, want)
		want = rest
		a, err := work.assignOne(i, set, asked, alive)
		if err != nil {
			return nil, err
		}
		e.Addr = a.Addr
		work.Entries = append(work.Entries, e)
		given = append(given, a)
	}
	if len(want) > 0 {
		return nil, errdefs.Invalid("assign address %s: it is in none of the ranges, or another of its range was asked for too", want[0])
	}
	*s = work
	return given, nil
}

// takeWanted splits off the first wanted address that belongs to a set.
func takeWanted(set Set, want []netip.Addr) (netip.Addr, []netip.Addr) {
	for i, a := range want {
		if _, ok := set.Find(a); ok {
			return a, slices.Delete(slices.Clone(want), i, i+1)
		}
	}
	return netip.Addr{}, want
}

func (s *State) assignOne(index int, set Set, asked netip.Addr, alive func(Entry) bool) (Assignment, error) {
	used := s.used()
	if asked.IsValid() {
		return s.assignAsked(set, asked, used, alive)
	}
	for len(s.Last) <= index {
		s.Last = append(s.Last, netip.Addr{})
	}
	a, ok := nextFree(set, s.Last[index], used)
	if !ok && s.Release(alive) {
		a, ok = nextFree(set, s.Last[index], s.used())
	}
	if !ok {
		return Assignment{}, errdefs.New(errdefs.ErrExhausted, "assign an address: all of %v are taken; remove containers or widen the range", set)
	}
	s.Last[index] = a.Addr
	return a, nil
}

func (s *State) assignAsked(set Set, asked netip.Addr, used map[netip.Addr]Entry, alive func(Entry) bool) (Assignment, error) {
	r, _ := set.Find(asked)
	if !r.usable(asked) {
		return Assignment{}, errdefs.Invalid("assign address %s: it is the gateway, network or broadcast address of %s", asked, r.Subnet)
	}
	if e, taken := used[asked]; taken {
		if alive(e) {
			return Assignment{}, errdefs.Exists("assign address %s: container %s has it", asked, e.Owner.ContainerID)
		}
		s.Release(func(other Entry) bool { return other.Owner != e.Owner })
	}
	return Assignment{Addr: asked, Range: r}, nil
}

func (s *State) used() map[netip.Addr]Entry {
	used := make(map[netip.Addr]Entry, len(s.Entries))
	for _, e := range s.Entries {
		used[e.Addr] = e
	}
	return used
}

// nextFree looks through a set once, from the address after last, so that a freed address rests as long as possible.
func nextFree(set Set, last netip.Addr, used map[netip.Addr]Entry) (Assignment, bool) {
	start := 0
	for i, r := range set {
		if r.Contains(last) {
			start = i
		}
	}
	for i := range len(set) + 1 { // the first range twice: after last, then before it
		r := set[(start+i)%len(set)]
		a := r.First
		if i == 0 && r.Contains(last) {
			a = last.Next()
		}
		for ; a.IsValid() && r.Contains(a); a = a.Next() {
			if _, taken := used[a]; !taken && r.usable(a) {
				return Assignment{Addr: a, Range: r}, true
			}
		}
	}
	return Assignment{}, false
}

// Free tells whether every set has an address left, counting those of owners that are not alive as free.
func (s *State) Free(sets []Set, alive func(Entry) bool) error {
	work := State{Entries: slices.Clone(s.Entries)}
	for _, set := range sets {
		if _, ok := nextFree(set, netip.Addr{}, work.used()); ok {
			continue
		}
		work.Release(alive)
		if _, ok := nextFree(set, netip.Addr{}, work.used()); !ok {
			return errdefs.New(errdefs.ErrExhausted, "all of %v are taken", set)
		}
	}
	return nil
}
