package nft

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// Registers. A concatenation fills the 32-bit registers from reg on; reg16 are those after the first 16 bytes.
const (
	reg   = 1  // NFT_REG_1, the same place as NFT_REG32_00
	reg4  = 9  // NFT_REG32_01, four bytes on
	reg8  = 10 // NFT_REG32_02
	reg16 = 2  // NFT_REG_2, sixteen bytes on, the same place as NFT_REG32_04
	reg20 = 13 // NFT_REG32_05
)

const (
	nfprotoIPv4 = 2
	nfprotoIPv6 = 10
	rtnLocal    = 2      // RTN_LOCAL of fib lookups
	ipsSrcNat   = 1 << 4 // IPS_SRC_NAT of ct status
	ipsDstNat   = 1 << 5 // IPS_DST_NAT
)

type rule struct {
	chain *nftables.Chain
	exprs []expr.Any
}

// family is what the rules for IPv4 and IPv6 differ in.
type family struct {
	proto            byte
	size             uint32 // of an address, bytes
	saddr, daddr     uint32 // offsets in the header
	portRegister     uint32 // after protocol and address
	second, podPort  uint32 // registers after one address
	ports, masq, own *nftables.Set
	any, multicast   netip.Prefix
}

func (o *objects) families() [2]family {
	return [2]family{
		{
			proto: nfprotoIPv4, size: 4, saddr: 12, daddr: 16, portRegister: reg8, second: reg4, podPort: reg4, ports: o.ports4, masq: o.masq4, own: o.self4,
			any: netip.MustParsePrefix("0.0.0.0/0"), multicast: netip.MustParsePrefix("224.0.0.0/4"),
		},
		{
			proto: nfprotoIPv6, size: 16, saddr: 8, daddr: 24, portRegister: reg20, second: reg16, podPort: reg16, ports: o.ports6, masq: o.masq6, own: o.self6,
			any: netip.MustParsePrefix("::/0"), multicast: netip.MustParsePrefix("ff00::/8"),
		},
	}
}

func (o *objects) natRules() []rule {
	f4, f6 := o.families()[0], o.families()[1]
	hairpin := []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: o.hairpin.Name}}
	return append(o.guardRules(), []rule{
		// dnat to meta l4proto . ip daddr . th dport map @ports4, then the same with 0.0.0.0 for the address
		{o.publish, f4.dnat(f4.load(f4.daddr, reg4))},
		{o.publish, f4.dnat(load(reg4, f4.any.Addr().AsSlice()))},
		{o.publish, f6.dnat(f6.load(f6.daddr, reg4))},
		{o.publish, f6.dnat(load(reg4, f6.any.Addr().AsSlice()))},

		// fib daddr type local goto publish
		{o.prerouting, o.toPublish()},
		// What is published at ::1 goes there, and no other port: unless somebody asks for it, clients should be refused and try 127.0.0.1.
		{o.output, slices.Concat(f6.toLoopback(), f6.dnat(f6.load(f6.daddr, reg4)))},
		{o.output, slices.Concat(f6.toLoopback(), verdict(expr.VerdictAccept))},
		{o.output, o.toPublish()},

		// From the node's 127.0.0.1 or ::1, from a pod to itself, and from a pod to another one behind the same link, which would answer
		// it directly: the answer must come back here.
		{o.hairpin, slices.Concat(f4.is(), f4.prefix(f4.saddr, loopback4(), true), o.toLinks(), masquerade())},
		{o.hairpin, slices.Concat(f6.is(), f6.prefix(f6.saddr, loopback6(), true), o.toLinks(), masquerade())},
		{o.hairpin, slices.Concat(f4.is(), f4.toItself(), masquerade())},
		{o.hairpin, slices.Concat(f6.is(), f6.toItself(), masquerade())},
		{o.hairpin, slices.Concat(o.backToLink(), masquerade())},
		{o.postrouting, slices.Concat(published(), hairpin)},
		// To pods that are hidden themselves nothing is hidden; to the outside the pod's address is. The link alone does not tell what is
		// outside: it may be a bridge that the node's uplink is a port of, too.
		{o.postrouting, slices.Concat(f4.masked(expr.MetaKeyOIFNAME, f4.daddr), verdict(expr.VerdictAccept))},
		{o.postrouting, slices.Concat(f6.masked(expr.MetaKeyOIFNAME, f6.daddr), verdict(expr.VerdictAccept))},
		{o.postrouting, f4.hide()},
		{o.postrouting, f6.hide()},
	}...)
}

func (f family) is() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{f.proto}},
	}
}

func (f family) load(offset, register uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.size}}
}

func loopback6() netip.Prefix { return netip.PrefixFrom(netip.IPv6Loopback(), 128) }

// toLoopback matches what is sent to ::1.
func (f family) toLoopback() []expr.Any {
	return slices.Concat(f.is(), f.prefix(f.daddr, loopback6(), true))
}

func load(register uint32, data []byte) []expr.Any {
	return []expr.Any{&expr.Immediate{Register: register, Data: data}}
}

// prefix compares an address of the packet with a prefix.
func (f family) prefix(offset uint32, p netip.Prefix, equal bool) []expr.Any {
	mask := make([]byte, f.size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	op := expr.CmpOpNeq
	if equal {
		op = expr.CmpOpEq
	}
	return append(f.load(offset, reg),
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: f.size, Mask: mask, Xor: make([]byte, f.size)},
		&expr.Cmp{Op: op, Register: reg, Data: p.Addr().AsSlice()})
}

// dnat looks up protocol . address . port and sends the packet to what it finds. address loads the second part of the key.
func (f family) dnat(address []expr.Any) []expr.Any {
	return slices.Concat(f.is(),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}},
		address,
		[]expr.Any{
			&expr.Payload{DestRegister: f.portRegister, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Lookup{SourceRegister: reg, DestRegister: reg, IsDestRegSet: true, SetName: f.ports.Name, SetID: f.ports.ID},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.proto), RegAddrMin: reg, RegProtoMin: f.podPort, Specified: true},
		})
}

// toItself matches source . destination that are both the address of one pod with published ports.
func (f family) toItself() []expr.Any {
	return slices.Concat(f.load(f.saddr, reg), f.load(f.daddr, f.second), []expr.Any{inSet(f.own)})
}

// hide masquerades what comes from a subnet that wants it, except multicast. The link that a forwarded packet came from is known in
// postrouting since Linux 5.7; what a bridge passes on by itself has none and stays as it is.
func (f family) hide() []expr.Any {
	return slices.Concat(f.masked(expr.MetaKeyIIFNAME, f.saddr), f.prefix(f.daddr, f.multicast, false), masquerade())
}

// masked looks a link and an address up among the subnets that want masquerading.
func (f family) masked(link expr.MetaKey, offset uint32) []expr.Any {
	return slices.Concat(f.is(), []expr.Any{&expr.Meta{Key: link, Register: reg}}, f.load(offset, reg16), []expr.Any{inSet(f.masq)})
}

func inSet(s *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: reg, SetName: s.Name, SetID: s.ID}
}

func (o *objects) toLinks() []expr.Any { return leavesBy(o.link) }

func (o *objects) backToLink() []expr.Any { return goesBack(o.link, true) }

func (o *objects) toPublish() []expr.Any {
	return append(toHere(), &expr.Verdict{Kind: expr.VerdictGoto, Chain: o.publish.Name})
}

// published matches connections whose destination was changed.
func published() []expr.Any { return status(ipsDstNat) }

// status matches connections that have one of the bits; packets of no known connection never match.
func status(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: reg},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, 4)},
	}
}

// masquerade picks a random port: the kernel's sequential choice loses packets when two connections race for one.
func masquerade() []expr.Any { return []expr.Any{&expr.Masq{FullyRandom: true}} }

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }
