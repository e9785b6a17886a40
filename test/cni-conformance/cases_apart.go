package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/netns"
)

// apartCases ask who a bridge lets talk to whom.
func apartCases() []testCase {
	return []testCase{
		{"bridge/vlan keeps containers apart, each with its gateway", vlanApart},
		{"bridge/vlanTrunk passes tagged frames on", vlanTrunk},
		{"bridge/preserveDefaultVlan: false leaves the default VLAN", vlanDefault},
		{"bridge/networks are isolated from each other", networksIsolated},
		{"bridge/isolation: none", networksOpen},
		{"bridge/internal", internalNetwork},
		{"bridge/IPv6 only: pods, outside, published ports", ipv6Only},
		{"bridge/publishedOnly: who has a route reaches published ports alone", publishedOnly},
		{"bridge/icc: false keeps containers apart", noICC},
		{"bridge/a bridge with the uplink leaves the masquerading of other networks alone", bridgeWithUplink},
		{"bridge/a gateway bridge with the uplink lets other networks out", gatewayWithUplink},
		{"bridge/macspoofchk drops frames with another address", macSpoof},
	}
}

// needVLANs asks the kernel for a bridge that keeps VLANs apart.
func needVLANs(e *env) error {
	h := e.host.Netlink()
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "probe"}}
	if err := h.LinkAdd(br); err != nil {
		return err
	}
	err := h.BridgeVlanAdd(br, 5, false, false, true, false)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		err = lacking("bridges with VLANs")
	}
	return errors.Join(err, h.LinkDel(br))
}

// inVLAN is a network of its own on the bridge of all.
func (e *env) inVLAN(name, subnet string, keys object) object {
	ipam := with(e.ipam(), object{"ranges": []any{[]any{object{"subnet": subnet}}}})
	return with(with(e.bridge(), object{"name": name, "ipam": ipam}), keys)
}

func vlanApart(e *env) error {
	if err := needVLANs(e); err != nil {
		return err
	}
	red, blue := e.inVLAN("red", "10.9.0.0/24", object{"vlan": 100}), e.inVLAN("blue", "10.9.1.0/24", object{"vlan": 200})
	a, first, raw, err := e.attached("a", red)
	if err != nil {
		return err
	}
	b, second, _, err := e.attached("b", red)
	if err != nil {
		return err
	}
	c, third, _, err := e.attached("c", blue)
	if err != nil {
		return err
	}
	if err := errors.Join(e.serve(b.ns, 80), e.serve(c.ns, 80), e.serve(e.host, 81), e.check("bridge", a, red, raw)); err != nil {
		return err
	}
	return errors.Join(
		apart(a.ns, third.IPs[0].Address.IP),
		reach(a.ns, hostPort(second.IPs[0].Address.IP.String(), 80), first.IPs[0].Address.IP.String()),
		reach(a.ns, hostPort(first.IPs[0].Gateway.String(), 81), ""), reach(c.ns, hostPort(third.IPs[0].Gateway.String(), 81), ""),
		e.del("bridge", a, red), e.del("bridge", b, red), e.del("bridge", c, blue))
}

// apart says what is wrong if a container's neighbours, as it sees them, answer for an address.
func apart(from *netns.Handle, ip net.IP) error {
	h := from.Netlink()
	l, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	neighbour := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: ip, Mask: net.CIDRMask(32, 32)}, Scope: netlink.SCOPE_LINK}
	if err := h.RouteAdd(neighbour); err != nil {
		return err
	}
	return errors.Join(refused(from, "tcp", hostPort(ip.String(), 80)), h.RouteDel(neighbour))
}

func portVLANs(e *env, r *current.Result) (string, error) {
	l, err := e.host.Netlink().LinkByName(r.Interfaces[1].Name)
	if err != nil {
		return "", err
	}
	all, err := e.host.Netlink().BridgeVlanList()
	if err != nil {
		return "", err
	}
	var out []string
	for _, v := range all[int32(l.Attrs().Index)] {
		text := fmt.Sprint(v.Vid)
		if v.PortVID() {
			text += "*"
		}
		out = append(out, text)
	}
	return strings.Join(out, " "), nil
}

func vlanTrunk(e *env) error {
	if err := needVLANs(e); err != nil {
		return err
	}
	conf := with(e.bridge(), object{"vlan": 7, "vlanTrunk": []any{object{"id": 100}, object{"minID": 200, "maxID": 202}}})
	_, result, _, err := e.attached("a", conf)
	if err != nil {
		return err
	}
	if got, err := portVLANs(e, result); err != nil || got != "1 7* 100 200 201 202" {
		return saw(err, "the port is in VLANs %q", got)
	}
	return nil
}

func vlanDefault(e *env) error {
	if err := needVLANs(e); err != nil {
		return err
	}
	_, result, _, err := e.attached("a", with(e.bridge(), object{"vlan": 7, "preserveDefaultVlan": false}))
	if err != nil {
		return err
	}
	if got, err := portVLANs(e, result); err != nil || got != "7*" {
		return saw(err, "the port is in VLANs %q", got)
	}
	return nil
}

func macSpoof(e *env) error {
	conf := with(e.bridge(), object{"macspoofchk": true})
	a, result, raw, err := e.attached("a", conf)
	if err != nil {
		return err
	}
	if err := errors.Join(e.serve(e.host, 81), e.check("bridge", a, conf, raw)); err != nil {
		return err
	}
	gateway := hostPort(result.IPs[0].Gateway.String(), 81)
	if err := reach(a.ns, gateway, ""); err != nil {
		return err
	}
	h := a.ns.Netlink()
	l, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	other, err := net.ParseMAC("02:00:00:00:00:99")
	if err != nil {
		return err
	}
	if err := h.LinkSetHardwareAddr(l, other); err != nil {
		return err
	}
	return errors.Join(refused(a.ns, "tcp", gateway), e.del("bridge", a, conf))
}

// twoNetworks attaches a to one bridge and b to another, with port 8080 published for b's port 80, and serves on b. keys are
// those of both networks.
func twoNetworks(e *env, keys object) (a *container, result *current.Result, err error) {
	first := with(e.bridge(), keys)
	second := with(e.inVLAN("net2", "10.9.1.0/24", object{"bridge": "br1"}), keys)
	if keys["internal"] == nil {
		second["runtimeConfig"] = object{"portMappings": []any{object{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}}}
	}
	a, _, _, err = e.attached("a", first)
	if err != nil {
		return nil, nil, err
	}
	b, result, _, err := e.attached("b", second)
	if err != nil {
		return nil, nil, err
	}
	return a, result, e.serve(b.ns, 80)
}

func networksIsolated(e *env) error {
	a, b, err := twoNetworks(e, object{})
	if err != nil {
		return err
	}
	gateway := hostPort(b.IPs[0].Gateway.String(), 8080)
	_, published := ask(a.ns, "tcp", gateway)
	return errors.Join(refused(a.ns, "tcp", hostPort(b.IPs[0].Address.IP.String(), 80)), published,
		reach(e.host, hostPort(b.IPs[0].Address.IP.String(), 80), ""))
}

func networksOpen(e *env) error {
	a, b, err := twoNetworks(e, object{"isolation": "none"})
	if err != nil {
		return err
	}
	return reach(a.ns, hostPort(b.IPs[0].Address.IP.String(), 80), "")
}

func internalNetwork(e *env) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	a, b, err := twoNetworks(e, object{"internal": true, "ipMasq": false, "isolation": "none"})
	if err != nil {
		return err
	}
	c, neighbour, _, err := e.attached("c", with(e.bridge(), object{"internal": true, "ipMasq": false}))
	if err != nil {
		return err
	}
	// A way back, so that it is the border which stops what is stopped.
	h := outside.Netlink()
	l, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	back := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4(10, 9, 0, 0), Mask: net.CIDRMask(16, 32)}, Gw: net.ParseIP("192.0.2.1")}
	if err := errors.Join(h.RouteAdd(back), e.serve(outside, 80), e.serve(c.ns, 80)); err != nil {
		return err
	}
	address := b.IPs[0].Address.IP.String()
	return errors.Join(
		refused(a.ns, "tcp", "192.0.2.2:80"), refused(outside, "tcp", hostPort(address, 80)), refused(a.ns, "tcp", hostPort(address, 80)),
		reach(a.ns, hostPort(neighbour.IPs[0].Address.IP.String(), 80), ""), reach(e.host, hostPort(address, 80), ""))
}

func noICC(e *env) error {
	conf := with(e.bridge(), object{"icc": false})
	a, first, _, err := e.attached("a", conf)
	if err != nil {
		return err
	}
	b, second, _, err := e.attached("b", conf)
	if err != nil {
		return err
	}
	if err := errors.Join(e.serve(b.ns, 80), e.serve(e.host, 81)); err != nil {
		return err
	}
	target := hostPort(second.IPs[0].Address.IP.String(), 80)
	direct := refused(a.ns, "tcp", target)
	if err := errors.Join(detour(a.ns, second.IPs[0]), detour(b.ns, first.IPs[0])); err != nil {
		return err
	}
	return errors.Join(direct, refused(a.ns, "tcp", target), reach(a.ns, hostPort(first.IPs[0].Gateway.String(), 81), ""))
}

// detour has a container reach a neighbour by way of the node, which knows where it is.
func detour(from *netns.Handle, to *current.IPConfig) error {
	l, err := from.Netlink().LinkByName("eth0")
	if err != nil {
		return err
	}
	neighbour := &net.IPNet{IP: to.Address.IP, Mask: net.CIDRMask(32, 32)}
	return from.Netlink().RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: neighbour, Gw: to.Gateway})
}

// lan makes the bridge that the node itself is connected by, as for containers with addresses of the LAN. It returns a machine there.
func (e *env) lan() (*netns.Handle, error) {
	outside, err := e.outside()
	if err != nil {
		return nil, err
	}
	h, br := e.host.Netlink(), &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan0"}}
	uplink, err := h.LinkByName("uplink")
	if err != nil {
		return nil, err
	}
	addrs, err := h.AddrList(uplink, netlink.FAMILY_V4)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		err = errors.Join(err, h.AddrDel(uplink, &a))
	}
	return outside, errors.Join(err, h.LinkAdd(br), h.LinkSetMaster(uplink, br), address(e.host, "lan0", "192.0.2.1/24"))
}

func bridgeWithUplink(e *env) error {
	outside, err := e.lan()
	if err != nil {
		return err
	}
	a, _, _, err := e.attached("a", e.bridge())
	if err != nil {
		return err
	}
	ipam := e.static(object{"addresses": []any{object{"address": "192.0.2.50/24"}}, "routes": nil})["ipam"]
	b, _, _, err := e.attached("b", object{"cniVersion": "1.1.0", "name": "lan", "type": "bridge", "bridge": "lan0", "ipam": ipam})
	if err != nil {
		return err
	}
	return errors.Join(e.serve(outside, 80), reach(b.ns, "192.0.2.2:80", "192.0.2.50"), reach(a.ns, "192.0.2.2:80", "192.0.2.1"))
}

// gatewayWithUplink has the node route for containers of the LAN, and others go out that way.
func gatewayWithUplink(e *env) error {
	outside, err := e.lan()
	if err != nil {
		return err
	}
	l, err := e.host.Netlink().LinkByName("lan0")
	if err != nil {
		return err
	}
	if err := e.host.Netlink().RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP("192.0.2.2")}); err != nil {
		return err
	}
	ipam := e.static(object{"addresses": []any{object{"address": "192.0.2.50/24", "gateway": "192.0.2.1"}}, "routes": nil})["ipam"]
	conf := object{"cniVersion": "1.1.0", "name": "lan", "type": "bridge", "bridge": "lan0", "isGateway": true, "ipam": ipam}
	b, _, raw, err := e.attached("b", conf)
	if err != nil {
		return err
	}
	a, _, _, err := e.attached("a", e.bridge())
	if err != nil {
		return err
	}
	return errors.Join(e.serve(outside, 80), e.serve(b.ns, 80), reach(b.ns, "192.0.2.2:80", "192.0.2.50"), reach(a.ns, "192.0.2.2:80", "192.0.2.1"),
		reach(outside, "192.0.2.50:80", "192.0.2.2"), e.check("bridge", b, conf, raw))
}
