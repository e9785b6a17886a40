package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/names"
	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/ports"
	"github.com/berth-runtime/berth/cni-plugins/internal/sysctl"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/netns"
)

// apply carries a plan out, registers how to undo it, and completes the result. The firewall comes first: it is what most
// likely refuses, and the cheapest to undo.
func apply(r *plugin.Request, p plan, host *netns.Handle, fw *nft.Firewall, undo *cleanup.Stack) error {
	h := host.Netlink()
	if err := forward(p); err != nil {
		return err
	}
	br, err := link.EnsureBridge(h, p.Bridge)
	if err != nil {
		return err
	}
	undo.Add(func() error { return ports.Withdraw(fw, p.Chooser, p.Firewall.Owner) })
	published, err := ports.Publish(fw, p.Chooser, p.Firewall)
	if err != nil {
		return err
	}
	ports.Tell(r, p.Firewall.Ports, published)
	if err := warnOfOthers(r, p, fw); err != nil {
		return err
	}
	if err := name(r, p, undo); err != nil {
		return err
	}
	hostEnd, end, err := link.AddVeth(h, r.NS, br, p.Veth)
	if err != nil {
		return err
	}
	undo.Add(func() error { return link.Remove(h, p.Veth.Host) })
	if err := configure(p, r.NS, end); err != nil {
		return err
	}
	if err := link.SetLimit(h, hostEnd, p.Ingress); err != nil {
		return err
	}
	if err := link.SetLimit(r.NS.Netlink(), end, p.Egress); err != nil {
		return err
	}
	if err := link.Raise(h, r.NS.Netlink(), hostEnd, end); err != nil {
		return err
	}
	if err := settle(p, host, r.NS); err != nil {
		return err
	}
	fillResult(p, br, hostEnd, end)
	return nil
}

// warnOfOthers tells, with the first container, of chains that keep packets of the bridge from being forwarded.
func warnOfOthers(r *plugin.Request, p plan, fw *nft.Firewall) error {
	if !fw.Fresh() || !p.Forward4 && !p.Forward6 {
		return nil
	}
	text, err := fw.Obstacle(p.Firewall.Link)
	if text != "" {
		r.Warn("network %s: %s", r.Config.Name, text)
	}
	return err
}

// name puts the container's names into the network's file. Without names it takes away what stands there for its addresses.
func name(r *plugin.Request, p plan, undo *cleanup.Stack) error {
	owner := names.Owner(r.ContainerID, r.IfName)
	undo.Add(func() error { return p.Hosts.Remove(owner) })
	return p.Hosts.Set(owner, p.plainAddrs(), p.Names)
}

// forward lets the node route packets of the families that it is a gateway for.
func forward(p plan) error {
	if p.Forward4 {
		if err := sysctl.Set("1", "ipv4", "ip_forward"); err != nil {
			return err
		}
	}
	if p.Forward6 {
		return sysctl.ForwardIPv6()
	}
	return nil
}

// configure sets the container's end up, with its addresses and routes.
func configure(p plan, container *netns.Handle, end netlink.Link) error {
	if !p.Up {
		return nil
	}
	h := container.Netlink()
	if err := container.Do(func() error { return configureIPv6(p) }); err != nil {
		return err
	}
	if err := h.LinkSetUp(end); err != nil {
		return fmt.Errorf("set interface %s up: %w", p.Veth.Container, err)
	}
	for _, a := range p.Addrs {
		if err := link.AddAddr(h, end, a, p.DAD); err != nil {
			return err
		}
	}
	for _, r := range p.Routes {
		if err := link.AddRoute(h, end, r); err != nil {
			return err
		}
	}
	return nil
}

// configureIPv6 runs in the container's namespace. Whatever its addresses are, the container must not take routes from router
// advertisements, which its neighbours on the bridge can send (CVE-2020-10749).
func configureIPv6(p plan) error {
	if err := sysctl.WriteIfPresent("0", "ipv6", "conf", p.Veth.Container, "accept_ra"); err != nil || !p.IPv6 {
		return err
	}
	return sysctl.Set("0", "ipv6", "conf", p.Veth.Container, "disable_ipv6")
}

// settleTime bounds how long the kernel may take to make addresses of IPv6 usable.
const settleTime = 30 * time.Second

// settle waits until the container is reached at its addresses, and the node at those of the gateway. Detection of duplicates takes its time
// behind the runtime's back, which asked for it.
func settle(p plan, host, container *netns.Handle) error {
	if !p.IPv6 && !p.Bridge.IPv6 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	var gateways []netip.Addr
	for _, gw := range p.Bridge.Gateways {
		gateways = append(gateways, gw.Addr())
	}
	if err := host.AwaitLocal(ctx, gateways...); err != nil || p.DAD {
		return err
	}
	return container.AwaitLocal(ctx, p.plainAddrs()...)
}

func fillResult(p plan, links ...netlink.Link) {
	for i, l := range links {
		p.Result.Interfaces[i].Mac = l.Attrs().HardwareAddr.String()
		p.Result.Interfaces[i].Mtu = l.Attrs().MTU
	}
}
