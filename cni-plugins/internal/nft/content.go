package nft

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/google/nftables"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// element is one element of a set. Those that belong to a link have no owner.
type element struct {
	set   *nftables.Set
	raw   nftables.SetElement
	owner Owner
	link  string
}

// identity is equal for elements that are the same.
type identity struct {
	set        *nftables.Set
	key, value string
	owner      Owner
}

func (e element) identity() identity {
	return identity{e.set, string(e.raw.Key) + string(e.raw.KeyEnd), string(e.raw.Val), e.owner}
}

func (e element) port() (Port, bool) {
	switch {
	case !e.set.IsMap:
		return Port{}, false
	case e.set.Interval:
		return decodeWhen(e.raw.Key, e.raw.KeyEnd, e.raw.Val)
	}
	return decodePort(e.raw.Key, e.raw.Val)
}

// content is what the table holds, as far as it was read.
type content struct {
	exists   bool
	present  map[string]bool        // the names of the sets
	current  map[*nftables.Set]bool // the markers of the parts that are written the way that this code writes them
	elements []element
	passed   int // elements that were seen and not kept
	unread   []*nftables.Set
}

// everything and all are for read.
func everything(*nftables.Set) bool { return true }

func all(element) bool { return true }

// read reads the table: of the sets that are wanted, the elements to keep.
func (f *Firewall) read(wanted func(*nftables.Set) bool, keep func(element) bool) (*content, error) {
	present, err := f.dumper.sets()
	if errors.Is(err, syscall.ENOENT) {
		return &content{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list sets of nft table %s: %w", tableName, err)
	}
	now := &content{exists: true, present: present, current: map[*nftables.Set]bool{}}
	for _, p := range f.obj.parts() {
		now.current[p.marker] = present[p.marker.Name] && !p.old(present)
		for _, s := range p.sets {
			if present[s.Name] {
				now.unread = append(now.unread, s)
			}
		}
	}
	return now, f.fill(now, wanted, keep)
}

// fill reads those of the sets that are wanted and were not read yet.
func (f *Firewall) fill(now *content, wanted func(*nftables.Set) bool, keep func(element) bool) error {
	var rest []*nftables.Set
	for _, s := range now.unread {
		if !wanted(s) {
			rest = append(rest, s)
			continue
		}
		if err := f.readSet(now, s, keep); err != nil {
			return fmt.Errorf("read set %s of nft table %s: %w", s.Name, tableName, err)
		}
	}
	now.unread = rest
	return nil
}

// readsMax bounds how often a set is read again because the kernel rearranges it.
const readsMax = 64

// readSet reads one set, until it has all of it. Each time the kernel has made its table twice as large, or soon will, so that a few times are enough.
func (f *Firewall) readSet(now *content, s *nftables.Set, keep func(element) bool) error {
	owned := f.obj.isOwned(s)
	elements, passed := len(now.elements), now.passed
	for range readsMax {
		now.elements, now.passed = now.elements[:elements], passed
		whole, err := f.dumper.elements(s.Name, func(raw nftables.SetElement) {
			e := element{set: s, raw: raw}
			if owned {
				e.owner, _ = parseTag(raw.Comment)
			} else {
				e.link = keyName(raw.Key)
			}
			if !keep(e) {
				now.passed++
				return
			}
			e.raw.Key, e.raw.KeyEnd, e.raw.Val = bytes.Clone(raw.Key), bytes.Clone(raw.KeyEnd), bytes.Clone(raw.Val)
			now.elements = append(now.elements, e)
		})
		if whole || err != nil {
			return err
		}
	}
	return errdefs.Unavailable("it changes all the time")
}

// of tells the sets of elements, for read.
func of(list []element) func(*nftables.Set) bool {
	return func(s *nftables.Set) bool {
		return slices.ContainsFunc(list, func(e element) bool { return e.set == s })
	}
}

// matter tells the elements that decide whether an attachment can be written, and what is missing: those with a key of the needed ones,
// ports that may be in the way, and the links that are isolated.
func matter(o *objects, needed []element, a Attachment) func(element) bool {
	slots, keys := map[slot]bool{}, map[string]bool{}
	for _, p := range a.Ports {
		slots[p.slot()] = true
	}
	for _, e := range needed {
		keys[e.set.Name+string(e.raw.Key)] = true
	}
	return func(e element) bool {
		p, ok := e.port()
		return ok && slots[p.slot()] || e.set == o.isolated || keys[e.set.Name+string(e.raw.Key)]
	}
}

// elements are those that an attachment needs.
func elements(o *objects, a Attachment) []element {
	var list []element
	comment, owner := tag(a.Owner), a.Owner.shortened()
	owned := func(set *nftables.Set, raw nftables.SetElement) {
		raw.Comment = comment
		list = append(list, element{set: set, owner: owner, raw: raw})
	}
	for _, s := range []struct {
		wanted bool
		set    *nftables.Set
	}{{!a.NoSNAT, o.link}, {a.Isolated, o.isolated}, {a.Internal, o.internal}, {a.Private, o.private}, {a.Closed, o.closed}} {
		if s.wanted {
			list = append(list, element{set: s.set, link: a.Link, raw: nftables.SetElement{Key: linkKey(a.Link)}})
		}
	}
	for _, subnet := range a.Masquerade {
		first, last := masqKey(a.Link, subnet)
		list = append(list, element{
			set: pick(o.masq4, o.masq6, subnet.Addr()), link: a.Link, raw: nftables.SetElement{Key: first, KeyEnd: last},
		})
	}
	var self []netip.Addr
	for _, p := range a.Ports {
		if p.Match == (Match{}) {
			owned(pick(o.ports4, o.ports6, p.Host.Addr()), nftables.SetElement{Key: p.key(), Val: p.value()})
		} else {
			first, last := p.whenKeys()
			owned(pick(o.when4, o.when6, p.Host.Addr()), nftables.SetElement{Key: first, KeyEnd: last, Val: p.value()})
		}
		if addr := p.Pod.Addr(); !slices.Contains(self, addr) {
			self = append(self, addr)
		}
	}
	for _, addr := range self {
		if !a.NoSNAT {
			owned(pick(o.self4, o.self6, addr), nftables.SetElement{Key: append(addr.AsSlice(), addr.AsSlice()...)})
		}
		if a.MasqAll {
			owned(pick(o.hide4, o.hide6, addr), nftables.SetElement{Key: addr.AsSlice()})
		}
	}
	for _, addr := range a.loopbacks() {
		owned(o.local, nftables.SetElement{Key: localKey(a.Link, addr, a.Owner)})
	}
	return list
}

func pick(v4, v6 *nftables.Set, addr netip.Addr) *nftables.Set {
	if addr.Is4() {
		return v4
	}
	return v6
}

// missing are the needed elements that the table lacks.
func (now *content) missing(needed []element) []element {
	have, wanted := map[identity]bool{}, of(needed)
	for _, e := range now.elements {
		if wanted(e.set) {
			have[e.identity()] = true
		}
	}
	return slices.DeleteFunc(needed, func(e element) bool { return have[e.identity()] })
}

// checkPorts refuses ports that another owner has.
func (now *content) checkPorts(a Attachment) error {
	if len(a.Ports) == 0 {
		return nil
	}
	own, taken, by := a.Owner.shortened(), Taken{}, map[Port]Owner{}
	for _, e := range now.elements {
		if have, ok := e.port(); ok && e.owner != own {
			taken.Add(have)
			by[have] = e.owner
		}
	}
	for _, p := range a.Ports {
		if have, ok := taken.Find(p); ok {
			return errdefs.Exists("publish host port %s for container %s: %s has published %s", p, a.Owner.ContainerID, by[have], have)
		}
	}
	return nil
}

func portsOf(list []element) []Port {
	var ports []Port
	for _, e := range list {
		if p, ok := e.port(); ok {
			ports = append(ports, p)
		}
	}
	return ports
}

// unused are the elements of links that are gone, or that idle says have no pods. Such a link is put back to normal first.
func (now *content) unused(idle func(string) bool) ([]element, error) {
	var list []element
	for _, e := range now.elements {
		if e.link == "" || !gone(e.link) && (idle == nil || !idle(e.link)) {
			continue
		}
		if e.set.Name != wallsName {
			if err := forbidLoopback(e.link); err != nil {
				return nil, err
			}
		}
		list = append(list, e)
	}
	return list, nil
}
