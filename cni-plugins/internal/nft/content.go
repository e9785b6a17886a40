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

func (e element) same(other element) bool {
	return e.set == other.set && bytes.Equal(e.raw.Key, other.raw.Key) && bytes.Equal(e.raw.Val, other.raw.Val) && e.owner == other.owner
}

func (e element) port() (Port, bool) {
	if !e.set.IsMap {
		return Port{}, false
	}
	return decodePort(e.raw.Key, e.raw.Val)
}

// content is what the table holds.
type content struct {
	exists   bool
	current  map[*nftables.Set]bool // the markers of the parts that are written the way that this code writes them
	elements []element
}

// read reads the table, without the elements of owners if those are not wanted.
func (f *Firewall) read(owned bool) (*content, error) {
	_, err := f.conn.ListTableOfFamily(tableName, nftables.TableFamilyINet)
	if errors.Is(err, syscall.ENOENT) {
		return &content{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for nft table %s: %w", tableName, err)
	}
	present, err := f.conn.GetSets(f.obj.table)
	if err != nil {
		return nil, fmt.Errorf("list sets of nft table %s: %w", tableName, err)
	}
	now := &content{exists: true, current: map[*nftables.Set]bool{}}
	isThere := func(s *nftables.Set) bool {
		return slices.ContainsFunc(present, func(p *nftables.Set) bool { return p.Name == s.Name })
	}
	publishing, walling := f.obj.publishing(), f.obj.walling()
	for _, p := range []part{publishing, walling} {
		now.current[p.marker] = isThere(p.marker)
	}
	for _, s := range append(publishing.sets, walling.sets...) {
		if !owned && f.obj.isOwned(s) || !isThere(s) {
			continue
		}
		list, err := f.conn.GetSetElements(s)
		if err != nil {
			return nil, fmt.Errorf("read set %s of nft table %s: %w", s.Name, tableName, err)
		}
		for _, raw := range list {
			e := element{set: s, raw: raw}
			if f.obj.isOwned(s) {
				e.owner, _ = parseTag(raw.Comment)
			} else {
				e.link = keyName(raw.Key)
			}
			now.elements = append(now.elements, e)
		}
	}
	return now, nil
}

// elements are those that an attachment needs.
func elements(o *objects, a Attachment) []element {
	var list []element
	owned := func(v4, v6 *nftables.Set, addr netip.Addr, key, value []byte) {
		raw := nftables.SetElement{Key: key, Val: value, Comment: tag(a.Owner)}
		list = append(list, element{set: pick(v4, v6, addr), owner: a.Owner.shortened(), raw: raw})
	}
	for _, s := range []struct {
		wanted bool
		set    *nftables.Set
	}{{!a.NoSNAT, o.link}, {a.Isolated, o.isolated}, {a.Internal, o.internal}, {a.Private, o.private}} {
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
		owned(o.ports4, o.ports6, p.Host.Addr(), p.key(), p.value())
		if addr := p.Pod.Addr(); !a.NoSNAT && !slices.Contains(self, addr) {
			self = append(self, addr)
			owned(o.self4, o.self6, addr, append(addr.AsSlice(), addr.AsSlice()...), nil)
		}
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
	return slices.DeleteFunc(needed, func(e element) bool { return slices.ContainsFunc(now.elements, e.same) })
}

// checkPorts refuses ports that another owner has.
func (now *content) checkPorts(a Attachment) error {
	own := a.Owner.shortened()
	for _, e := range now.elements {
		have, ok := e.port()
		if !ok || e.owner == own {
			continue
		}
		for _, p := range a.Ports {
			if p.Conflicts(have) {
				return errdefs.Exists("publish host port %s for container %s: %s has published %s", p, a.Owner.ContainerID, e.owner, have)
			}
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
