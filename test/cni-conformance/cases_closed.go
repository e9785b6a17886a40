package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/netns"
)

// routeHere gives a machine outside a route to the containers, through the host.
func routeHere(outside *netns.Handle) error {
	l, err := outside.Netlink().LinkByName("eth0")
	if err != nil {
		return err
	}
	return errors.Join(
		outside.Netlink().RouteAdd(&netlink.Route{
			LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4(10, 9, 0, 0), Mask: net.CIDRMask(16, 32)}, Gw: net.ParseIP("192.0.2.1"),
		}),
		outside.Netlink().RouteAdd(&netlink.Route{
			LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: net.ParseIP("fd09::"), Mask: net.CIDRMask(64, 128)}, Gw: net.ParseIP("2001:db8::1"),
		}))
}

func publishedOnly(e *env) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	if err := errors.Join(routeHere(outside), e.serve(outside, 99)); err != nil {
		return err
	}
	open, _, _, err := e.attached("open", with(e.dual(), object{"runtimeConfig": both(8080, 80, "")}))
	if err != nil {
		return err
	}
	if err := e.serve(open.ns, 80); err != nil {
		return err
	}
	if err := errors.Join(reach(outside, "10.9.0.2:80", ""), reach(outside, "[fd09::2]:80", "")); err != nil {
		return fmt.Errorf("without the key: %w", err)
	}
	conf := with(e.dual(), object{"publishedOnly": true, "runtimeConfig": both(8081, 80, "")})
	c, _, raw, err := e.attached("closed", conf)
	if err != nil {
		return err
	}
	if err := e.serve(c.ns, 80); err != nil {
		return err
	}
	return errors.Join(
		refused(outside, "tcp", "10.9.0.3:80"), refused(outside, "udp", "10.9.0.3:80"), refused(outside, "tcp", "[fd09::3]:80"),
		reach(outside, "192.0.2.1:8081", "192.0.2.2"), reach(outside, "[2001:db8::1]:8081", "2001:db8::2"),
		reach(e.host, "10.9.0.3:80", ""), reach(open.ns, "10.9.0.3:80", ""), reach(open.ns, "192.0.2.1:8081", ""),
		reach(c.ns, "192.0.2.2:99", "192.0.2.1"), e.check("bridge", c, conf, raw))
}

func ipv6Only(e *env) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	conf := with(e.bridge(), object{"ipam": with(e.ipam(), object{"ranges": []any{[]any{object{"subnet": "fd09::/64"}}}})})
	c, result, raw, err := e.published("c1", conf, both(8080, 80, ""))
	if err != nil {
		return err
	}
	if len(result.IPs) != 1 || len(result.Routes) != 1 || result.Routes[0].Dst.String() != "::/0" {
		return fmt.Errorf("result %v", raw)
	}
	other, _, _, err := e.attached("c2", conf)
	if err != nil {
		return err
	}
	if err := e.serve(outside, 99); err != nil {
		return err
	}
	seen, err := ask(c.ns, "tcp", "[2001:db8::2]:99")
	if err == nil && seen.String() != "2001:db8::1" {
		err = fmt.Errorf("outside, the container is %s", seen)
	}
	return errors.Join(err, reach(other.ns, "[fd09::2]:80", "fd09::3"), reach(outside, "[2001:db8::1]:8080", "2001:db8::2"), reach(other.ns, "[fd09::1]:8080", ""),
		e.check("bridge", c, conf, raw), e.del("portmap", c, portmapConf(both(8080, 80, ""), raw)), e.del("bridge", c, conf))
}
