package nft

import (
	"slices"

	"github.com/google/nftables"
)

// part is a piece of the table that is written as one. Its marker is the set that tells which code wrote it.
type part struct {
	sets   []*nftables.Set
	chains []*nftables.Chain
	rules  []rule
	marker *nftables.Set

	former  []string          // the markers of earlier code; where one is, the part is not as it should be
	retired []*nftables.Chain // chains that only earlier code needs
}

// publishing is the part for published ports and masquerading, walling that for walls.
func (o *objects) publishing() part {
	return part{
		sets:   []*nftables.Set{o.ports4, o.ports6, o.masq4, o.masq6, o.self4, o.self6, o.link, o.isolated, o.local},
		chains: []*nftables.Chain{o.guardNAT, o.guardIn, o.guarded, o.publish, o.prerouting, o.output, o.hairpin, o.postrouting},
		rules:  o.natRules(), marker: o.revision,
		former: formerRevisions(), retired: []*nftables.Chain{o.guard, o.forward},
	}
}

func (o *objects) walling() part {
	return part{
		sets:   []*nftables.Set{o.walled4, o.walled6, o.alone4, o.alone6, o.walls},
		chains: []*nftables.Chain{o.wall},
		rules:  o.wallRules(), marker: o.wallRevision,
	}
}

// parts are those of the table.
func (o *objects) parts() []part {
	return []part{o.publishing(), o.isolating(), o.enclosing(), o.choosing(), o.walling()}
}

// write adds a part of the table to the batch: what exists stays, the rules are replaced by those of now. present are the names of the
// sets that are there.
func (o *objects) write(c *nftables.Conn, p part, present map[string]bool) error {
	c.AddTable(o.table)
	for _, s := range append(p.sets, p.marker) {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	for _, chain := range p.chains {
		c.AddChain(chain)
		c.FlushChain(chain)
	}
	for _, r := range p.rules {
		c.AddRule(&nftables.Rule{Table: o.table, Chain: r.chain, Exprs: r.exprs})
	}
	o.retire(c, p, present)
	return nil
}

// retire takes away what earlier code wrote and now is in the way, if there is any.
func (o *objects) retire(c *nftables.Conn, p part, present map[string]bool) {
	if !p.old(present) {
		return
	}
	for _, chain := range p.retired {
		c.AddChain(chain) // it may have been taken away
		c.FlushChain(chain)
		c.DelChain(chain)
	}
	for _, name := range p.former {
		if present[name] {
			c.DelSet(&nftables.Set{Table: o.table, Name: name})
		}
	}
}

// old tells whether earlier code wrote the part, be it that the code of now did so too.
func (p part) old(present map[string]bool) bool {
	return slices.ContainsFunc(p.former, func(name string) bool { return present[name] })
}

// partsFor are the parts of the table that an attachment needs. now has the links that are isolated, if the attachment is.
func (f *Firewall) partsFor(a Attachment, now *content) []part {
	o := f.obj
	parts := []part{o.publishing()}
	isolated := map[string]bool{}
	if a.Isolated {
		isolated[a.Link] = true
	}
	enclosed := a.Internal || a.Private
	for _, e := range now.elements {
		if e.set == o.isolated {
			isolated[e.link] = true
		}
		enclosed = enclosed || e.set == o.internal || e.set == o.private
	}
	if len(isolated) > 1 {
		parts = append(parts, o.isolating())
	}
	if enclosed {
		parts = append(parts, o.enclosing())
	}
	if a.MasqAll || a.Closed || slices.ContainsFunc(a.Ports, func(p Port) bool { return p.Match != Match{} }) {
		parts = append(parts, o.choosing())
	}
	return parts
}

// adopt reads which links are apart from others, where earlier code wrote the table: their rules were in a chain that goes.
func (f *Firewall) adopt(now *content) error {
	if !f.obj.publishing().old(now.present) {
		return nil
	}
	return f.fill(now, func(s *nftables.Set) bool { return s == f.obj.isolated || s == f.obj.internal || s == f.obj.private }, all)
}
