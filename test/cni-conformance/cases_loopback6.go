package main

import (
	"errors"
	"io/fs"
	"net"
	"os"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/netns"
)

// publishLoopback6 reaches a port at ::1, and tries what would be wrong: from elsewhere, and to what the node itself serves there. Packets that
// bridges pass on go past ip6tables for it, as far as the kernel can send them through.
func publishLoopback6(e *env) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	if err := errors.Join(upLoopback(e.host), passBridges(e.host)); err != nil {
		return err
	}
	c, _, raw, err := e.published("c1", e.dual(), both(8080, 80, "::1"))
	if err != nil {
		return err
	}
	if _, _, _, err := e.published("c2", e.dual(), both(8081, 80, "")); err != nil {
		return err
	}
	if err := e.serve(e.host, 99); err != nil {
		return err
	}
	err = errors.Join(reach(e.host, "[::1]:8080", ""), refused(e.host, "tcp", "[::1]:8081"), reach(e.host, "[::1]:99", "::1"), reach(e.host, "127.0.0.1:8081", ""),
		refused(e.host, "tcp", "127.0.0.1:8080"), refused(outside, "tcp", "[2001:db8::1]:8080"), refused(e.host, "tcp", "[2001:db8::1]:8080"))
	if err != nil {
		return err
	}
	for _, from := range []struct {
		ns  *netns.Handle
		via string
	}{{outside, "2001:db8::1"}, {c.ns, "fd09::1"}} {
		if err := loopback6Via(from.ns, from.via); err != nil {
			return err
		}
		err = errors.Join(err, refused(from.ns, "tcp", "[::1]:8080"), refused(from.ns, "udp", "[::1]:8080"), refused(from.ns, "tcp", "[::1]:99"), refused(from.ns, "udp", "[::1]:99"))
	}
	return errors.Join(err, e.del("portmap", c, portmapConf(both(8080, 80, "::1"), raw)), refused(e.host, "tcp", "[::1]:8080"), reach(e.host, "127.0.0.1:8081", ""))
}

func passBridges(ns *netns.Handle) error {
	const setting = "net/bridge/bridge-nf-call-ip6tables"
	_, err := os.Stat("/proc/sys/" + setting)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, setSysctl(ns, setting, "0"))
}

func upLoopback(ns *netns.Handle) error {
	lo, err := ns.Netlink().LinkByName("lo")
	if err != nil {
		return err
	}
	return ns.Netlink().LinkSetUp(lo)
}

// loopback6Via sends what is for ::1 to a gateway behind eth0.
func loopback6Via(ns *netns.Handle, gateway string) error {
	h := ns.Netlink()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	l, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := h.LinkSetDown(lo); err != nil {
		return err
	}
	return h.RouteReplace(&netlink.Route{
		LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)}, Gw: net.ParseIP(gateway),
	})
}
