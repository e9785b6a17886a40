package nft

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
)

// tableName is the table's name, in family inet.
const tableName = "berth"

// revision is the name of an empty set, which tells that the table is written the way that this code writes it. Change it
// with any change of sets, chains or rules.
const revision = "revision2"

// objects are the table with its sets and chains, as values for one connection.
type objects struct {
	table                                            *nftables.Table
	ports4, ports6, masq4, masq6, self4, self6, link *nftables.Set
	isolated, internal, private                      *nftables.Set
	revision                                         *nftables.Set
	guard, publish, prerouting, output, postrouting  *nftables.Chain
	forward                                          *nftables.Chain
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
	v4, v6 := nftables.TypeIPAddr, nftables.TypeIP6Addr
	return &objects{
		table:  t,
		ports4: ports("ports4", v4), ports6: ports("ports6", v6),
		masq4: subnets("masq4", v4), masq6: subnets("masq6", v6),
		self4: set("self4", v4, v4), self6: set("self6", v6, v6),
		link:     set("links", nftables.TypeIFName, nftables.TypeIFName),
		isolated: set("isolated", nftables.TypeIFName, nftables.TypeIFName),
		internal: set("internal", nftables.TypeIFName, nftables.TypeIFName),
		private:  set("private", nftables.TypeIFName, nftables.TypeIFName),
		revision: set(revision, nftables.TypeMark),

		guard:       base("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw),
		publish:     &nftables.Chain{Name: "publish", Table: t},
		prerouting:  base("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest),
		output:      base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest),
		postrouting: base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource),
		forward:     base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter),
	}
}

func (o *objects) sets() []*nftables.Set {
	return []*nftables.Set{o.ports4, o.ports6, o.masq4, o.masq6, o.self4, o.self6, o.link, o.isolated, o.internal, o.private, o.revision}
}

func (o *objects) chains() []*nftables.Chain {
	return []*nftables.Chain{o.guard, o.publish, o.prerouting, o.output, o.postrouting, o.forward}
}

// write adds the whole table to the batch: what exists stays, the rules are replaced by those of now.
func (o *objects) write(c *nftables.Conn) error {
	c.AddTable(o.table)
	for _, s := range o.sets() {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	for _, chain := range o.chains() {
		c.AddChain(chain)
		c.FlushChain(chain)
	}
	for _, r := range o.rules() {
		c.AddRule(&nftables.Rule{Table: o.table, Chain: r.chain, Exprs: r.exprs})
	}
	return nil
}

// isOwned tells whether the elements of a set belong to owners, not to links.
func (o *objects) isOwned(s *nftables.Set) bool {
	return s == o.ports4 || s == o.ports6 || s == o.self4 || s == o.self6
}
