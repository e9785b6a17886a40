package nft

import (
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// forwardRules say which links the node does not route between. A set of links holds each as the pair link . link, so that one
// lookup tells whether a packet came by a link of the set, leaves by one, or goes back by the one that it came by.
func (o *objects) forwardRules() []rule {
	drop := verdict(expr.VerdictDrop)
	return []rule{
		// Nothing crosses the border of an internal network, published or not.
		{o.forward, slices.Concat(cameBy(o.internal), goesBack(o.internal, false), drop)},
		{o.forward, slices.Concat(leavesBy(o.internal), goesBack(o.internal, false), drop)},
		{o.forward, slices.Concat(published(), verdict(expr.VerdictAccept))},
		{o.forward, slices.Concat(cameBy(o.isolated), leavesBy(o.isolated), goesBack(o.isolated, false), drop)},
		// Ports of a bridge that are isolated from each other must not meet by way of the node's router either.
		{o.forward, slices.Concat(goesBack(o.private, true), drop)},
	}
}

func cameBy(s *nftables.Set) []expr.Any {
	return pair(s, expr.MetaKeyIIFNAME, expr.MetaKeyIIFNAME, true)
}

func leavesBy(s *nftables.Set) []expr.Any {
	return pair(s, expr.MetaKeyOIFNAME, expr.MetaKeyOIFNAME, true)
}

// goesBack matches what leaves by the link of the set that it came by, or, without yes, all else.
func goesBack(s *nftables.Set, yes bool) []expr.Any {
	return pair(s, expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME, yes)
}

func pair(s *nftables.Set, first, second expr.MetaKey, in bool) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: first, Register: reg}, &expr.Meta{Key: second, Register: reg16},
		&expr.Lookup{SourceRegister: reg, SetName: s.Name, SetID: s.ID, Invert: !in},
	}
}
