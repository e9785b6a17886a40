package main

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/names"
	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/ports"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// plan is everything that ADD does to the kernel, and the result as far as it is known before.
type plan struct {
	Bridge             link.Bridge
	Veth               link.Veth
	Addrs              []netip.Prefix
	Routes             []link.Route
	DAD                bool
	Up                 bool // the container's end
	IPv6               bool
	Forward4, Forward6 bool
	Ingress, Egress    link.Limit
	Firewall           nft.Attachment
	Chooser            ports.Chooser `json:"-"`
	Names              []string      `json:",omitempty"` // of the addresses
	Hosts              names.File    `json:"-"`          // where they stand
	Result             *current.Result
}

// buildPlan is pure: conf and request say what is wanted, ipam is the result of the ipam plugin (nil if there is none), mtu is what
// to take if the configuration does not say.
func buildPlan(c config, r *plugin.Request, ipam *current.Result, mtu int) (plan, error) {
	if c.MTU != 0 {
		mtu = c.MTU
	}
	p := plan{
		Bridge: link.Bridge{Name: c.Bridge, MTU: mtu, Promisc: c.Promisc, Force: c.ForceAddress, VLANs: c.VLANs.Filter(), Tag: c.VLANs.Tag},
		Veth: link.Veth{
			Host: link.HostName(r.Config.Name, r.ContainerID, r.IfName), Container: r.IfName, MAC: c.MAC, MTU: mtu,
			Hairpin:  c.Hairpin || len(c.Ports) > 0, // a pod may use its own published port
			Isolated: c.Isolated, VLANs: c.VLANs, CheckMAC: c.CheckMAC,
		},
		DAD: c.DAD, Up: !c.NoInterface, Ingress: c.Ingress, Egress: c.Egress, Chooser: c.Chooser, Names: c.Names,
		Hosts:    names.Open(c.HostsDir, r.Config.Name),
		Firewall: nft.Attachment{Owner: firewallOwner(r), Link: link.GatewayName(c.Bridge, c.VLANs.Tag), Isolated: !c.Open, Internal: c.Internal, Private: c.Isolated, Closed: c.Closed},
		Result:   &current.Result{Interfaces: []*current.Interface{{Name: c.Bridge}, {}, {Name: r.IfName, Sandbox: r.Netns}}},
	}
	p.Result.Interfaces[1].Name = p.Veth.Host
	p.Result.DNS = c.DNS
	if ipam == nil {
		return p, nil
	}
	if len(ipam.IPs) == 0 {
		return plan{}, errdefs.Invalid("the ipam plugin %s gave no address", r.Config.IPAMType)
	}
	if p.Result.DNS.IsEmpty() {
		p.Result.DNS = ipam.DNS
	}
	gateways, err := p.addAddresses(c, ipam.IPs)
	if err != nil {
		return plan{}, err
	}
	if p.IPv6 && mtu != 0 && mtu < mtuIPv6 {
		return plan{}, errdefs.Invalid("mtu %d is too small for the container's IPv6 addresses: at least %d is needed", mtu, mtuIPv6)
	}
	if err := p.addRoutes(c, ipam.Routes, gateways); err != nil {
		return plan{}, err
	}
	return p, p.addFirewall(c)
}

// decide opens a network that the configuration says nothing about if the node's own way out is through its bridge: the node could not route other
// networks to the outside else. routes are the node's default ones.
func (c config) decide(h *netlink.Handle, routes []netlink.Route) (config, error) {
	if !c.Undecided {
		return c, nil
	}
	uplink, err := link.HoldsUplink(h, routes, c.Bridge, c.VLANs.Tag)
	c.Open = uplink
	return c, err
}

// byFamily holds one gateway of each family, invalid if there is none.
type byFamily struct{ v4, v6 netip.Addr }

func (f byFamily) of(a netip.Addr) netip.Addr {
	if a.Is4() {
		return f.v4
	}
	return f.v6
}

// addAddresses plans the addresses of the container and of the bridge as its gateway.
func (p *plan) addAddresses(c config, ips []*current.IPConfig) (gateways byFamily, err error) {
	for _, ip := range ips {
		prefix, ok := toPrefix(ip.Address)
		if !ok {
			return byFamily{}, errdefs.Invalid("the ipam plugin gave the address %v", ip.Address)
		}
		gw, ok := netip.AddrFromSlice(ip.Gateway)
		gw = gw.Unmap()
		switch {
		case !ok && c.IsGateway:
			gw = prefix.Masked().Addr().Next()
		case ok && gw.Is4() != prefix.Addr().Is4():
			return byFamily{}, errdefs.Invalid("the ipam plugin gave %s the gateway %s of the other family", prefix, gw)
		}
		p.Addrs = append(p.Addrs, prefix)
		out := &current.IPConfig{Interface: new(2), Address: ip.Address}
		if gw.IsValid() {
			out.Gateway = gw.AsSlice()
		}
		p.Result.IPs = append(p.Result.IPs, out)
		if prefix.Addr().Is6() {
			p.IPv6 = true
			gateways.v6 = firstValid(gateways.v6, gw)
		} else {
			gateways.v4 = firstValid(gateways.v4, gw)
		}
		if c.IsGateway {
			p.Bridge.Gateways = append(p.Bridge.Gateways, netip.PrefixFrom(gw, prefix.Bits()))
			p.Bridge.IPv6 = p.Bridge.IPv6 || gw.Is6()
			p.Forward4 = p.Forward4 || gw.Is4()
			p.Forward6 = p.Forward6 || gw.Is6()
		}
	}
	if p.Veth.MAC == nil {
		p.Veth.MAC = deriveMAC(p.Addrs[0].Addr())
	}
	return gateways, nil
}

func firstValid(a, b netip.Addr) netip.Addr {
	if a.IsValid() {
		return a
	}
	return b
}

// deriveMAC makes the hardware address a function of the IP address, so that neighbours which still know the last container that had
// the address reach the new one at once, without waiting for an announcement. Of IPv6 addresses the end alone would be the same in two
// subnets of one bridge.
func deriveMAC(a netip.Addr) net.HardwareAddr {
	b := a.AsSlice()
	front, end := b[:len(b)-4], b[len(b)-4:]
	if a.Is6() {
		sum := sha256.Sum256(front)
		for i := range end {
			end[i] ^= sum[i]
		}
	}
	return append(net.HardwareAddr{0x0a, 0x58}, end...)
}

// addRoutes plans the routes of the ipam plugin, and the default routes if the bridge is to be the default gateway.
func (p *plan) addRoutes(c config, routes []*types.Route, gateways byFamily) error {
	var has4, has6 bool
	for _, r := range routes {
		dst, ok := toPrefix(r.Dst)
		if !ok {
			return errdefs.Invalid("the ipam plugin gave a route to %v", r.Dst)
		}
		gw, ok := netip.AddrFromSlice(r.GW)
		gw = gw.Unmap()
		if !ok {
			gw = gateways.of(dst.Addr())
		}
		if gw.IsValid() && gw.Is4() != dst.Addr().Is4() {
			return errdefs.Invalid("the ipam plugin gave a route to %s via %s", dst, gw)
		}
		if err := plugin.CheckRoute(r); err != nil {
			return fmt.Errorf("routes: %w", err)
		}
		p.Routes = append(p.Routes, link.Route{
			Dst: dst.Masked(), Gateway: gw, MTU: r.MTU, AdvMSS: r.AdvMSS, Priority: r.Priority, Table: r.Table, Scope: r.Scope,
		})
		p.Result.Routes = append(p.Result.Routes, r)
		if dst.Bits() == 0 && r.Table == nil {
			has4, has6 = has4 || dst.Addr().Is4(), has6 || dst.Addr().Is6()
		}
	}
	if !c.IsDefaultGateway {
		return nil
	}
	for _, f := range []struct {
		has bool
		gw  netip.Addr
		any netip.Addr
	}{{has4, gateways.v4, netip.IPv4Unspecified()}, {has6, gateways.v6, netip.IPv6Unspecified()}} {
		if f.has || !f.gw.IsValid() {
			continue
		}
		dst := netip.PrefixFrom(f.any, 0)
		p.Routes = append(p.Routes, link.Route{Dst: dst, Gateway: f.gw})
		p.Result.Routes = append(p.Result.Routes, &types.Route{Dst: toIPNet(dst), GW: f.gw.AsSlice()})
	}
	return nil
}

func (p *plan) addFirewall(c config) error {
	for _, a := range p.Addrs {
		if c.IPMasq && !slices.Contains(p.Firewall.Masquerade, a.Masked()) {
			p.Firewall.Masquerade = append(p.Firewall.Masquerade, a.Masked())
		}
	}
	var err error
	p.Firewall.Ports, err = ports.Plan(c.Ports, p.plainAddrs(), c.Chooser.First != 0)
	return err
}

// plainAddrs are the addresses without the lengths of their subnets.
func (p *plan) plainAddrs() []netip.Addr {
	var addrs []netip.Addr
	for _, a := range p.Addrs {
		addrs = append(addrs, a.Addr())
	}
	return addrs
}

func firewallOwner(r *plugin.Request) nft.Owner {
	return nft.Owner{Network: r.Config.Name, ContainerID: r.ContainerID, IfName: r.IfName}
}

func toPrefix(n net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	a = a.Unmap()
	return netip.PrefixFrom(a, ones), ok && bits == a.BitLen()
}

func toIPNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
