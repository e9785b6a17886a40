package main

import (
	"errors"
	"net/netip"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/ipam"
	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/names"
	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/ports"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
)

func isMissing(err error) bool { return errors.Is(err, errdefs.ErrNotFound) }

// check is CHECK: is what ADD made still there? Plugins later in the chain may have added to it, so more than that is fine.
func check(r *plugin.Request) (err error) {
	conf, err := parseConfig(r.Config, r.Args)
	if err != nil {
		return err
	}
	host, err := netns.Current()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	if conf.HasIPAM {
		delegate, err := ipam.Open(r)
		if err != nil {
			return err
		}
		if err := delegate.Check(r); err != nil {
			return err
		}
	}
	routes, err := link.DefaultRoutes(host.Netlink())
	if err != nil {
		return err
	}
	if conf, err = conf.decide(host.Netlink(), routes); err != nil {
		return err
	}
	p, err := buildPlan(conf, r, ownResult(r), 0)
	if err != nil {
		return err
	}
	end, err := checkLinks(conf, p, host.Netlink(), r.NS.Netlink())
	if err != nil {
		return err
	}
	if err := checkInside(p, r.NS.Netlink(), end); err != nil {
		return err
	}
	if err := p.Hosts.Check(names.Owner(r.ContainerID, r.IfName), p.plainAddrs(), p.Names); err != nil {
		return mismatchOr(notMissing(err), "%v", err)
	}
	return checkFirewall(p, r.Repair)
}

func checkFirewall(p plan, repair bool) (err error) {
	fw, err := nft.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fw.Close()) }()
	if p.Firewall.Ports, err = p.Chooser.Recall(p.Firewall.Owner, p.Firewall.Ports); err == nil && repair {
		fw.Distrust()
		if _, err := ports.Publish(fw, p.Chooser, p.Firewall); err != nil {
			return err
		}
	}
	if err == nil {
		err = fw.Check(p.Firewall)
	}
	if isMissing(err) {
		return plugin.Mismatch("%w", err)
	}
	return err
}

// ownResult picks the addresses of our interface out of prevResult; nil if there is no ipam.
func ownResult(r *plugin.Request) *current.Result {
	if r.Config.IPAMType == "" {
		return nil
	}
	own := &current.Result{Routes: r.Config.Prev.Routes}
	for _, ip := range r.Config.Prev.IPs {
		if i := ip.Interface; i == nil || r.Config.Prev.Interfaces[*i].Name == r.IfName {
			own.IPs = append(own.IPs, ip)
		}
	}
	return own
}

// checkLinks finds the bridge, its port and the container's end.
func checkLinks(conf config, p plan, host, container *netlink.Handle) (netlink.Link, error) {
	br, err := link.FindBridge(host, conf.Bridge)
	if isMissing(err) {
		return nil, plugin.Mismatch("bridge %s is gone", conf.Bridge)
	}
	if err != nil {
		return nil, err
	}
	if err := checkGateways(p, host); err != nil {
		return nil, err
	}
	port, err := link.Find(host, p.Veth.Host)
	if err != nil || port.Attrs().MasterIndex != br.Index || !link.IsUp(port) {
		return nil, mismatchOr(notMissing(err), "host link %s is not an active port of bridge %s", p.Veth.Host, conf.Bridge)
	}
	if err := checkPort(p, host, port); err != nil {
		return nil, err
	}
	end, err := link.Find(container, p.Veth.Container)
	if err != nil {
		return nil, mismatchOr(notMissing(err), "interface %s is gone", p.Veth.Container)
	}
	return end, nil
}

// checkGateways looks for the gateway addresses on the bridge, or its link into a VLAN.
func checkGateways(p plan, host *netlink.Handle) error {
	if len(p.Bridge.Gateways) == 0 {
		return nil
	}
	name := link.GatewayName(p.Bridge.Name, p.Bridge.Tag)
	l, err := link.Find(host, name)
	if err != nil {
		return mismatchOr(notMissing(err), "gateway link %s is gone", name)
	}
	for _, gw := range p.Bridge.Gateways {
		if ok, err := link.HasAddr(host, l, gw); err != nil || !ok {
			return mismatchOr(err, "%s lacks the gateway address %s", name, gw)
		}
	}
	return nil
}

// checkPort checks what ADD gave the port of the bridge.
func checkPort(p plan, host *netlink.Handle, port netlink.Link) error {
	if ok, err := link.HasLimit(host, port, p.Ingress); err != nil || !ok {
		return mismatchOr(err, "host link %s lacks its rate limit", p.Veth.Host)
	}
	if ok, err := p.Veth.VLANs.Joined(host, port); err != nil || !ok {
		return mismatchOr(err, "host link %s is not in its VLANs", p.Veth.Host)
	}
	if !p.Veth.CheckMAC {
		return nil
	}
	if ok, err := link.IsLocked(port); err != nil || !ok {
		return mismatchOr(err, "host link %s passes on frames of any hardware address", p.Veth.Host)
	}
	return nil
}

// checkInside checks what is in the container's namespace. The hardware address is checked only if it was asked for: a plugin later in
// the chain may have changed it.
func checkInside(p plan, h *netlink.Handle, end netlink.Link) error {
	name := p.Veth.Container
	if p.Up && !link.IsUp(end) {
		return plugin.Mismatch("interface %s is down", name)
	}
	for _, a := range p.Addrs {
		if ok, err := link.HasAddr(h, end, a); err != nil || !ok {
			return mismatchOr(err, "interface %s lacks the address %s", name, a)
		}
	}
	for _, r := range p.Routes {
		if ok, err := link.HasRoute(h, end, r); err != nil || !ok {
			return mismatchOr(err, "interface %s lacks the route to %s via %s", name, r.Dst, gatewayText(r.Gateway))
		}
	}
	if ok, err := link.HasLimit(h, end, p.Egress); err != nil || !ok {
		return mismatchOr(err, "interface %s lacks its rate limit", name)
	}
	return nil
}

func gatewayText(a netip.Addr) string {
	if !a.IsValid() {
		return "the link itself"
	}
	return a.String()
}

func notMissing(err error) error {
	if isMissing(err) {
		return nil
	}
	return err
}

// mismatchOr returns err if there is one, else a mismatch.
func mismatchOr(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return plugin.Mismatch(format, args...)
}
