package nft

import (
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
)

// loopback4 is the node's own subnet, which route_localnet gives away.
func loopback4() netip.Prefix { return netip.MustParsePrefix("127.0.0.0/8") }

// guardRules drop what links bring for 127.0.0.0/8, at two places that few packets pass: the first packet of a connection before its
// destination can be changed, and whatever is about to be delivered here, of no known connection included. A packet that had
// another destination when it came is let through: an answer for the node's 127.0.0.1, or what others direct there.
func (o *objects) guardRules() []rule {
	f4 := o.families()[0]
	toLoopback := slices.Concat(notFromHere(), f4.is(), f4.prefix(f4.daddr, loopback4(), true))
	accept, drop := verdict(expr.VerdictAccept), verdict(expr.VerdictDrop)
	return []rule{
		// iifname != "lo" ip daddr 127.0.0.0/8 drop
		{o.guardNAT, slices.Concat(toLoopback, drop)},
		{o.guardIn, slices.Concat(toLoopback, []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: o.guarded.Name}})},
		// ct direction reply ct status snat accept, ct direction original ct status dnat accept, drop
		{o.guarded, slices.Concat(direction(ctReply), status(ipsSrcNat), accept)},
		{o.guarded, slices.Concat(direction(ctOriginal), status(ipsDstNat), accept)},
		{o.guarded, drop},
	}
}

// notFromHere matches packets that did not come from the node itself.
func notFromHere() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: nameKey("lo")},
	}
}

// Directions of a connection (enum ip_conntrack_dir).
const (
	ctOriginal = 0
	ctReply    = 1
)

func direction(d byte) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{d}},
	}
}
