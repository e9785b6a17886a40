package nft

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// wallsName is the name of the set of links with pods behind walls.
const wallsName = "walls"

// Wall says which addresses of a pod stand behind the wall of a link: pods behind the walls of other links can't reach them.
type Wall struct {
	Owner    Owner
	Link     string // of the host, towards the pod
	Addrs    []netip.Addr
	Isolated bool // nor can pods behind the same link, as far as the packets are routed
}

// wallRules are the rules of chain walls.
func (o *objects) wallRules() []rule {
	f4, f6 := o.families()[0], o.families()[1]
	iif, oif := expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME
	drop := verdict(expr.VerdictDrop)
	return []rule{
		// ct state established,related accept: a wall keeps connections from being opened
		{o.wall, slices.Concat(underWay(), verdict(expr.VerdictAccept))},
		// ip daddr . iifname @alone4 drop: the destination is behind the link that the packet came from
		{o.wall, slices.Concat(f4.towards(o.alone4, iif), drop)},
		{o.wall, slices.Concat(f6.towards(o.alone6, iif), drop)},
		// iifname . oifname @walls accept: within one link
		{o.wall, slices.Concat(goesBack(o.walls, true), verdict(expr.VerdictAccept))},
		// iifname . iifname @walls ip daddr . oifname @walled4 drop: from one wall to another
		{o.wall, slices.Concat(cameBy(o.walls), f4.towards(o.walled4, oif), drop)},
		{o.wall, slices.Concat(cameBy(o.walls), f6.towards(o.walled6, oif), drop)},
	}
}

// underWay matches packets of connections that were let through before, and what belongs to them.
func underWay() []expr.Any {
	const states = expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(states), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, 4)},
	}
}

// towards looks the destination and a link up in a set whose elements are address . link.
func (f family) towards(set *nftables.Set, link expr.MetaKey) []expr.Any {
	return slices.Concat(f.is(), f.load(f.daddr, reg), []expr.Any{&expr.Meta{Key: link, Register: f.second}, inSet(set)})
}

func (w Wall) validate() error {
	if w.Link == "" || len(w.Link) >= nameSize || len(w.Addrs) == 0 {
		return errdefs.Bug("wall for %s: link %q, %d addresses", w.Owner, w.Link, len(w.Addrs))
	}
	return nil
}

func (o *objects) wallElements(w Wall) []element {
	list := []element{{set: o.walls, link: w.Link, raw: nftables.SetElement{Key: linkKey(w.Link)}}}
	add := func(s *nftables.Set, a netip.Addr) {
		raw := nftables.SetElement{Key: append(a.AsSlice(), nameKey(w.Link)...), Comment: tag(w.Owner)}
		list = append(list, element{set: s, owner: w.Owner.shortened(), raw: raw})
	}
	for _, a := range w.Addrs {
		add(pick(o.walled4, o.walled6, a), a)
		if w.Isolated {
			add(pick(o.alone4, o.alone6, a), a)
		}
	}
	return list
}

// Wall puts a pod behind a wall. Its addresses are its own: what stands there for another owner was left by one that was lost, and goes.
func (f *Firewall) Wall(w Wall) error {
	if err := w.validate(); err != nil {
		return err
	}
	return locked(func() error {
		now, err := f.read(f.isOfWalls, all)
		if err != nil {
			return err
		}
		needed := f.obj.wallElements(w)
		if err := f.delete(now.left(f.obj, needed, w.Owner)); err != nil {
			return err
		}
		return f.write(now, []part{f.obj.walling()}, now.missing(needed), w.Owner)
	})
}

// isOfWalls tells the sets of the walling part.
func (f *Firewall) isOfWalls(s *nftables.Set) bool { return s == f.obj.walls || f.obj.isWalled(s) }

// left are the elements of other owners with an address of the needed ones.
func (now *content) left(o *objects, needed []element, owner Owner) []element {
	var list []element
	for _, e := range now.elements {
		if !o.isWalled(e.set) || e.owner == owner.shortened() {
			continue
		}
		if slices.ContainsFunc(needed, func(n element) bool { return slices.Equal(n.raw.Key, e.raw.Key) }) {
			list = append(list, e)
		}
	}
	return list
}

// CheckWall returns an error of kind ErrNotFound if a pod's wall has a hole.
func (f *Firewall) CheckWall(w Wall) error {
	return locked(func() error {
		now, err := f.read(f.isOfWalls, all)
		if err != nil {
			return err
		}
		return now.lacks([]part{f.obj.walling()}, f.obj.wallElements(w), w.Owner)
	})
}

// Unwall takes an owner from behind the wall. It is idempotent. The last one behind a link takes the wall along.
func (f *Firewall) Unwall(o Owner) error {
	return f.unwall(func(have Owner) bool { return have == o.shortened() })
}

// CollectWalls takes all of a network but the valid owners from behind walls.
func (f *Firewall) CollectWalls(network string, valid []Owner) error {
	return f.unwall(staleIn(network, valid))
}

func (f *Firewall) unwall(stale func(Owner) bool) error {
	return locked(func() error {
		now, err := f.read(f.isOfWalls, all)
		if err != nil {
			return err
		}
		busy := map[string]bool{}
		var dropped []element
		for _, e := range now.elements {
			switch {
			case !f.obj.isWalled(e.set):
			case stale(e.owner):
				dropped = append(dropped, e)
			default:
				busy[keyName(e.raw.Key[max(len(e.raw.Key)-nameSize, 0):])] = true
			}
		}
		for _, e := range now.elements {
			if e.set == f.obj.walls && !busy[e.link] {
				dropped = append(dropped, e)
			}
		}
		if len(dropped) == 0 {
			return nil
		}
		if err := f.fill(now, everything, all); err != nil {
			return err
		}
		return f.erase(now, dropped)
	})
}
