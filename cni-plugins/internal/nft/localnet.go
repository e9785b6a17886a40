package nft

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/sysctl"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// allowLoopback lets published ports of pods behind a link be reached from the node's 127.0.0.1, and from ::1 if they are published there. It
// comes after the guard, which keeps pods from reaching the node's loopback services.
func allowLoopback(a Attachment) error {
	if a.needsLoopback() {
		if err := sysctl.Set("1", "ipv4", "conf", a.Link, "route_localnet"); err != nil {
			return err
		}
	}
	if a.NoSNAT || !slices.ContainsFunc(a.Ports, Port.atLoopback6) {
		return nil
	}
	return changeRoute(a.Link, netlink.RouteReplace)
}

// checkLoopback6 refuses ports at ::1 where they can't work. An answer that comes over a bridge whose packets go through ip6tables is translated
// back there, and then looks like one for ::1 from a wire.
func (a Attachment) checkLoopback6() error {
	if a.NoSNAT || !slices.ContainsFunc(a.Ports, Port.atLoopback6) {
		return nil
	}
	l, err := netlink.LinkByName(a.Link)
	if err != nil {
		return fmt.Errorf("publish at ::1 for link %s: %w", a.Link, err)
	}
	passed, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
	if l.Type() == "bridge" && err == nil && strings.TrimSpace(string(passed)) != "0" {
		return errdefs.NotSupported("publish at ::1: answers would get lost at bridge %s, as net.bridge.bridge-nf-call-ip6tables is on; set it to 0, or publish at 127.0.0.1", a.Link)
	}
	return nil
}

// forbidLoopback is the opposite; the link may be gone.
func forbidLoopback(link string) error {
	if err := sysctl.SetIfPresent("0", "ipv4", "conf", link, "route_localnet"); err != nil {
		return err
	}
	err := changeRoute(link, netlink.RouteDel)
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	return err
}

// loopbackMetric is more than that of the kernel's own route to ::1, which what the node sends shall go on to take.
const loopbackMetric = 4096

// changeRoute does something to the route that makes ::1 local to a link. Linux looks for the way to ::1 only among the routes of the link that
// a packet came by (rt6_need_strict), so it finds none for the answers from pods, whose destination is ::1 again once they are
// translated back. No such address ever comes by wire: the kernel drops that at once (RFC 4291, section 2.5.3).
func changeRoute(name string, do func(*netlink.Route) error) error {
	l, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return errdefs.NotFound("route ::1 for link %s: it is gone", name)
	}
	if err != nil {
		return fmt.Errorf("route ::1 for link %s: %w", name, err)
	}
	err = do(&netlink.Route{
		LinkIndex: l.Attrs().Index, Dst: &net.IPNet{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		Table: syscall.RT_TABLE_LOCAL, Type: syscall.RTN_LOCAL, Priority: loopbackMetric,
	})
	if err != nil {
		return fmt.Errorf("route ::1 for link %s: %w", name, err)
	}
	return nil
}

// gone tells whether a link is known not to exist.
func gone(link string) bool {
	_, err := os.Stat(filepath.Join("/proc/sys/net/ipv4/conf", link))
	return errors.Is(err, fs.ErrNotExist)
}
