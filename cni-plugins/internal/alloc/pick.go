package alloc

import (
	"net/netip"
	"slices"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// nearMost is how many addresses are looked up one by one before all entries are read at once: as the search goes on where it ended
// the last time, it passes each taken address once in a lap, so more than a few in a row are rare.
const nearMost = 64

// picker finds addresses in a table, and changes nothing.
type picker struct {
	t    *table
	pool Pool
	now  int64 // seconds since boot
	all  map[netip.Addr]Entry
}

// pick returns the address of a set for an entry: the asked one if there is any, else the one that its pod had, else the next one.
func (p *picker) pick(index int, asked netip.Addr, e Entry) (Assignment, error) {
	set := p.pool.Sets[index]
	if asked.IsValid() {
		return p.asked(set, asked, e)
	}
	if a, ok, err := p.former(set, e.Pod); err != nil || ok {
		return a, err
	}
	var last netip.Addr
	if index < len(p.t.last) {
		last = p.t.last[index]
	}
	return p.next(set, last)
}

func (p *picker) asked(set Set, a netip.Addr, e Entry) (Assignment, error) {
	r, _ := set.Find(a)
	if !p.pool.usable(r, a) {
		return Assignment{}, errdefs.Invalid("assign address %s: it is excluded, or the gateway, network or broadcast address of %s", a, r.Subnet)
	}
	have, ok, err := p.t.at(a)
	switch {
	case err != nil:
		return Assignment{}, err
	case ok && !have.Free && Alive(have.Entry):
		return Assignment{}, errdefs.Exists("assign address %s: container %s has it", a, have.Owner.ContainerID)
	case ok && p.cooling(have.Entry) && (e.Pod == "" || e.Pod != have.Pod):
		return Assignment{}, errdefs.New(errdefs.ErrExhausted, "assign address %s: it was freed less than %s ago (cooldown)", a, p.pool.Cooldown)
	}
	return Assignment{Addr: a, Range: r}, nil
}

// former returns the address of a set that a pod had, if nobody has it now. Cool-down protects an address from others.
func (p *picker) former(set Set, pod string) (Assignment, bool, error) {
	if pod == "" {
		return Assignment{}, false, nil
	}
	list, err := p.t.find(byPod, pod)
	if err != nil {
		return Assignment{}, false, err
	}
	for _, f := range list {
		if r, ok := set.Find(f.Addr); ok && p.pool.usable(r, f.Addr) && (f.Free || !Alive(f.Entry)) {
			return Assignment{Addr: f.Addr, Range: r}, true, nil
		}
	}
	return Assignment{}, false, nil
}

func (p *picker) next(set Set, last netip.Addr) (Assignment, error) {
	near := 0
	for a := range p.pool.candidates(set, last) {
		if near++; near > nearMost {
			break
		}
		have, ok, err := p.t.at(a.Addr)
		if err != nil {
			return Assignment{}, err
		}
		if !ok || have.Free && !p.cooling(have.Entry) {
			a.searched = true
			return a, nil
		}
	}
	if err := p.readAll(); err != nil {
		return Assignment{}, err
	}
	for a := range p.pool.candidates(set, last) {
		if have, ok := p.all[a.Addr]; !ok || have.Free && !p.cooling(have) {
			a.searched = true
			return a, nil
		}
	}
	return Assignment{}, errdefs.New(errdefs.ErrExhausted, "assign an address: all of %v are taken, excluded or cooling down; remove containers or widen the range", set)
}

// readAll reads what find would have to look for one by one.
func (p *picker) readAll() error {
	if p.all != nil {
		return nil
	}
	list, err := p.t.entries()
	if err != nil {
		return err
	}
	p.all = make(map[netip.Addr]Entry, len(list))
	for _, f := range list {
		p.all[f.Addr] = f.Entry
	}
	return nil
}

// cooling tells whether an address was freed too recently for another pod.
func (p *picker) cooling(e Entry) bool {
	return e.Free && time.Duration(p.now-e.Freed)*time.Second < p.pool.Cooldown
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
