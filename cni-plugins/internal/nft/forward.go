package nft

import (
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// isolateRevision and enclosureRevision are like revision, for what says which links the node does not route between: a node with one
// network has nothing to keep apart, and does not pay for it with each packet.
const (
	isolateRevision   = "isolaterevision1"
	enclosureRevision = "enclosurerevision1"
)

// isolating is the part for networks that are isolated from each other, of which it takes two. The set of their links belongs to publishing.
func (o *objects) isolating() part {
	return part{chains: []*nftables.Chain{o.isolate, o.apart}, rules: o.isolateRules(), marker: o.isolateRevision}
}

// enclosing is the part for attachments that are Internal or Private.
func (o *objects) enclosing() part {
	return part{
		sets: []*nftables.Set{o.internal, o.private}, chains: []*nftables.Chain{o.border},
		rules: o.borderRules(), marker: o.enclosureRevision,
	}
}

// A set of links holds each as the pair link . link, so that one lookup tells whether a packet came by a link of the set, leaves by one, or
// goes back by the one that it came by.

// isolateRules cost what comes from outside one lookup, what goes there two. Nothing is accepted before: that a packet is of a connection
// does not mean that it is from where it says.
func (o *objects) isolateRules() []rule {
	drop := verdict(expr.VerdictDrop)
	apart := []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: o.apart.Name}}
	return []rule{
		{o.isolate, slices.Concat(cameBy(o.isolated), leavesBy(o.isolated), goesBack(o.isolated, false), apart)},
		{o.apart, slices.Concat(published(), verdict(expr.VerdictAccept))},
		{o.apart, drop},
	}
}

func (o *objects) borderRules() []rule {
	drop := verdict(expr.VerdictDrop)
	return []rule{
		// Nothing crosses the border of an internal network, published or not.
		{o.border, slices.Concat(cameBy(o.internal), goesBack(o.internal, false), drop)},
		{o.border, slices.Concat(leavesBy(o.internal), goesBack(o.internal, false), drop)},
		// Ports of a bridge that are isolated from each other must not meet by way of the node's router either.
		{o.border, slices.Concat(published(), verdict(expr.VerdictAccept))},
		{o.border, slices.Concat(goesBack(o.private, true), drop)},
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
