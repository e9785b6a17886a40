package nft

import (
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// chooseRevision is like revision, for what publishes ports to some packets alone, hides who asked, and closes links to all but published
// ports: who doesn't want that does not pay for it.
const chooseRevision = "chooserevision2"

// Registers of what is looked up in when4 and when6, after the protocol: port, link, source.
const (
	whenPort = reg4
	whenLink = 10 // NFT_REG32_02
	whenFrom = 14 // NFT_REG32_06
)

// choosing is the part for ports with a Match, and for attachments with MasqAll or Closed.
func (o *objects) choosing() part {
	return part{
		sets:   []*nftables.Set{o.when4, o.when6, o.hide4, o.hide6, o.closed},
		chains: []*nftables.Chain{o.whenIn, o.whenOut, o.hide, o.close},
		rules:  o.chooseRules(), marker: o.chooseRevision,
	}
}

func (o *objects) chooseRules() []rule {
	f4, f6 := o.families()[0], o.families()[1]
	// What the node sends came by no link, which kernels say in different ways.
	came, sent := []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: whenLink}}, load(whenLink, make([]byte, nameSize))
	return []rule{
		// fib daddr type local dnat to meta l4proto . th dport . iifname . ip saddr . ip daddr map @when4
		{o.whenIn, slices.Concat(toHere(), f4.when(o.when4, came))},
		{o.whenIn, slices.Concat(toHere(), f6.when(o.when6, came))},
		{o.whenOut, slices.Concat(f6.toLoopback(), verdict(expr.VerdictAccept))},
		{o.whenOut, slices.Concat(toHere(), f4.when(o.when4, sent))},
		{o.whenOut, slices.Concat(toHere(), f6.when(o.when6, sent))},
		// ct status dnat ip daddr @hide4 masquerade
		{o.hide, slices.Concat(published(), f4.is(), f4.load(f4.daddr, reg), []expr.Any{inSet(o.hide4)}, masquerade())},
		{o.hide, slices.Concat(published(), f6.is(), f6.load(f6.daddr, reg), []expr.Any{inSet(o.hide6)}, masquerade())},
		// ct status dnat accept, ct state established,related accept, oifname . oifname @closed iifname . oifname != @closed drop
		{o.close, slices.Concat(published(), verdict(expr.VerdictAccept))},
		{o.close, slices.Concat(underWay(), verdict(expr.VerdictAccept))},
		{o.close, slices.Concat(leavesBy(o.closed), goesBack(o.closed, false), verdict(expr.VerdictDrop))},
	}
}

// when looks protocol . port . link . source . destination up and sends the packet to what it finds.
func (f family) when(set *nftables.Set, link []expr.Any) []expr.Any {
	return slices.Concat(f.is(),
		[]expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg},
			&expr.Payload{DestRegister: whenPort, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		},
		link, f.load(f.saddr, whenFrom), f.load(f.daddr, whenFrom+f.size/4),
		[]expr.Any{
			&expr.Lookup{SourceRegister: reg, DestRegister: reg, IsDestRegSet: true, SetName: set.Name, SetID: set.ID},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.proto), RegAddrMin: reg, RegProtoMin: f.podPort, Specified: true},
		})
}

// toHere matches packets for an address of the node.
func toHere() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: binaryutil.NativeEndian.PutUint32(rtnLocal)},
	}
}
