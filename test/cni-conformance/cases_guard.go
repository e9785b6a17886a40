package main

import (
	"errors"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/berth-runtime/berth/netns"
)

// guardCases ask what guards the node's 127.0.0.1 where the rules of others have a say.
func guardCases() []testCase {
	return []testCase{
		{"portmap/containers can't reach 127.0.0.1 of the node by packets that are not tracked", guardUntracked},
		{"portmap/containers can't reach 127.0.0.1 of the node by redirections of others, which else work", guardRedirected},
	}
}

// loopbackUser attaches a container with a published port that sends packets for 127.0.0.1 to the node, where port 99 is served.
func loopbackUser(e *env) (*netns.Handle, error) {
	c, _, _, err := e.published("c1", e.bridge(), both(8080, 80, ""))
	if err != nil {
		return nil, err
	}
	return c.ns, errors.Join(e.serve(e.host, 99), routeLoopback(c.ns, "eth0", "10.9.0.1"))
}

func guardUntracked(e *env) error {
	ns, err := loopbackUser(e)
	if err != nil {
		return err
	}
	err = e.otherChain(nftables.ChainTypeFilter, nftables.ChainPriorityRaw, []expr.Any{&expr.Notrack{}})
	return errors.Join(err, reach(ns, "10.9.0.1:99", ""), refused(ns, "tcp", "127.0.0.1:99"), refused(ns, "udp", "127.0.0.1:99"))
}

func guardRedirected(e *env) error {
	if err := e.otherChain(nftables.ChainTypeNAT, nftables.ChainPriorityNATDest, redirect(97, 127, 0, 0, 1), redirect(98, 10, 9, 0, 1)); err != nil {
		return err
	}
	ns, err := loopbackUser(e)
	if err != nil {
		return err
	}
	_, there := ask(ns, "tcp", "10.9.0.1:97")
	_, here := ask(ns, "tcp", "10.9.0.1:98")
	return errors.Join(there, here, refused(ns, "tcp", "127.0.0.1:97"), refused(ns, "tcp", "127.0.0.1:98"))
}

// otherChain makes a chain before routing in a table of others.
func (e *env) otherChain(kind nftables.ChainType, priority *nftables.ChainPriority, rules ...[]expr.Any) error {
	return e.host.Do(func() error {
		c, err := nftables.New(nftables.AsLasting())
		if err != nil {
			return err
		}
		table := c.AddTable(&nftables.Table{Name: "others", Family: nftables.TableFamilyIPv4})
		chain := c.AddChain(&nftables.Chain{Name: "prerouting", Table: table, Type: kind, Hooknum: nftables.ChainHookPrerouting, Priority: priority})
		for _, r := range rules {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: r})
		}
		return errors.Join(c.Flush(), c.CloseLasting())
	})
}

// redirect sends what comes by the bridge for a port to port 99 of an address.
func redirect(port byte, to ...byte) []expr.Any {
	name := make([]byte, 16)
	copy(name, "br0")
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, port}},
		&expr.Immediate{Register: 1, Data: to},
		&expr.Immediate{Register: 2, Data: []byte{0, 99}},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: 2, RegAddrMin: 1, RegProtoMin: 2, Specified: true},
	}
}
