package nft

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
)

// tableName is the table's name, in family inet.
const tableName = "berth"

// revision is the name of an empty set, which tells that the table is written the way that this code writes it. Change it
// with any change of sets, chains or rules.
const revision = "revision6"

// formerRevisions are the markers of what earlier code wrote.
func formerRevisions() []string {
	return []string{"revision1", "revision2", "revision3", "revision4", "revision5"}
}

// wallRevision is the same for what stands behind walls, which only Wall writes: who uses no walls does not pay for them.
const wallRevision = "wallrevision1"

// objects are the table with its sets and chains, as values for one connection.
type objects struct {
	table                                            *nftables.Table
	ports4, ports6, masq4, masq6, self4, self6, link *nftables.Set
	isolated, internal, private, local               *nftables.Set
	revision                                         *nftables.Set
	guardNAT, guardIn, guarded, publish, prerouting  *nftables.Chain
	output, hairpin, postrouting                     *nftables.Chain

	isolate, apart, border             *nftables.Chain
	isolateRevision, enclosureRevision *nftables.Set

	guard, forward *nftables.Chain // of earlier revisions

	walled4, walled6, alone4, alone6, walls, wallRevision *nftables.Set
	wall                                                  *nftables.Chain

	when4, when6, hide4, hide6, closed, chooseRevision *nftables.Set
	whenIn, whenOut, hide, close                       *nftables.Chain
}

func newObjects() *objects {
	t := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	set := func(name string, types ...nftables.SetDatatype) *nftables.Set {
		s := &nftables.Set{Table: t, Name: name, KeyType: types[0], KeyByteOrder: binaryutil.BigEndian}
		if len(types) > 1 {
			s.KeyType, s.Concatenation = nftables.MustConcatSetType(types...), true
		}
		return s
	}
	ports := func(name string, addr nftables.SetDatatype) *nftables.Set {
		s := set(name, nftables.TypeInetProto, addr, nftables.TypeInetService)
		s.IsMap, s.DataType = true, nftables.MustConcatSetType(addr, nftables.TypeInetService)
		return s
	}
	base := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		accept := nftables.ChainPolicyAccept
		return &nftables.Chain{Name: name, Table: t, Type: kind, Hooknum: hook, Priority: priority, Policy: &accept}
	}
	subnets := func(name string, addr nftables.SetDatatype) *nftables.Set {
		s := set(name, nftables.TypeIFName, addr)
		s.Interval = true
		return s
	}
	// The third part is a link's name, which nft(8) 1.0.6 can't show as a range: it shows an address instead.
	when := func(name string, addr nftables.SetDatatype) *nftables.Set {
		s := set(name, nftables.TypeInetProto, nftables.TypeInetService, nftables.TypeIP6Addr, addr, addr)
		s.Interval, s.IsMap, s.DataType = true, true, nftables.MustConcatSetType(addr, nftables.TypeInetService)
		return s
	}
	v4, v6, link := nftables.TypeIPAddr, nftables.TypeIP6Addr, nftables.TypeIFName
	return &objects{
		table:  t,
		ports4: ports("ports4", v4), ports6: ports("ports6", v6),
		masq4: subnets("masq4", v4), masq6: subnets("masq6", v6),
		self4: set("self4", v4, v4), self6: set("self6", v6, v6),
		link:     set("links", link, link),
		isolated: set("isolated", link, link),
		internal: set("internal", link, link),
		private:  set("private", link, link),
		local:    set("local", link, v6, v6),
		revision: set(revision, nftables.TypeMark),

		guardNAT:    base("guard_nat", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, new(*nftables.ChainPriorityNATDest-1)),
		guardIn:     base("guard_in", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityRaw),
		guarded:     &nftables.Chain{Name: "guarded", Table: t},
		publish:     &nftables.Chain{Name: "publish", Table: t},
		prerouting:  base("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest),
		output:      base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest),
		hairpin:     &nftables.Chain{Name: "hairpin", Table: t},
		postrouting: base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource),

		isolate:           base("isolate", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter),
		apart:             &nftables.Chain{Name: "apart", Table: t},
		border:            base("border", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter),
		isolateRevision:   set(isolateRevision, nftables.TypeMark),
		enclosureRevision: set(enclosureRevision, nftables.TypeMark),

		guard:   base("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw),
		forward: base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter),

		walled4: set("walled4", v4, link), walled6: set("walled6", v6, link),
		alone4: set("alone4", v4, link), alone6: set("alone6", v6, link),
		walls:        set("walls", link, link),
		wallRevision: set(wallRevision, nftables.TypeMark),
		wall:         base("walls", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter),

		when4: when("when4", v4), when6: when("when6", v6),
		hide4: set("hide4", v4), hide6: set("hide6", v6),
		closed:         set("closed", link, link),
		close:          base("close", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter),
		chooseRevision: set(chooseRevision, nftables.TypeMark),
		whenIn:         base("when_in", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest),
		whenOut:        base("when_out", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest),
		hide:           base("hide", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource),
	}
}

// isOwned tells whether the elements of a set belong to owners, not to links.
func (o *objects) isOwned(s *nftables.Set) bool {
	return s == o.ports4 || s == o.ports6 || s == o.self4 || s == o.self6 || s == o.local || s == o.when4 || s == o.when6 || s == o.hide4 || s == o.hide6 || o.isWalled(s)
}

// isWalled tells whether the elements of a set are pods behind walls.
func (o *objects) isWalled(s *nftables.Set) bool {
	return s == o.walled4 || s == o.walled6 || s == o.alone4 || s == o.alone6
}
