package nft

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/sysctl"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// ourLocalnet is the value of route_localnet that says that it was set here. To the kernel it is the same as 1, which is somebody else's.
const ourLocalnet = "2"

// localKey is link . address of lo . number of the owner. With it the table knows who wants that address to lead to the link.
func localKey(link string, lo netip.Addr, o Owner) []byte {
	addr, number := lo.As16(), sha256.Sum256([]byte(tag(o)))
	return slices.Concat(nameKey(link), addr[:], number[:len(addr)])
}

// way is what a key of localKey says of the link.
type way struct {
	link string
	lo   netip.Addr
}

func (e element) way() way {
	var addr [16]byte
	copy(addr[:], e.raw.Key[min(nameSize, len(e.raw.Key)):])
	return way{keyName(e.raw.Key), netip.AddrFrom16(addr).Unmap()}
}

// allowLoopback lets published ports of pods behind a link be reached from the node's 127.0.0.1, and from ::1 if they are published there. It
// comes after the guard, which keeps pods from reaching the node's loopback services, and after the elements that say who wants it.
func allowLoopback(a Attachment) error {
	for _, lo := range a.loopbacks() {
		if err := allowWay(way{a.Link, lo}); err != nil {
			return err
		}
	}
	return nil
}

func allowWay(w way) error {
	if w.lo.Is6() {
		return changeRoute(w.link, netlink.RouteReplace)
	}
	now, err := sysctl.Get("ipv4", "conf", w.link, "route_localnet")
	if err != nil || now != "0" {
		return err
	}
	return sysctl.Set(ourLocalnet, "ipv4", "conf", w.link, "route_localnet")
}

// leaveLoopback puts links back to normal that are wanted by none but the dropped elements of set local. It comes before these are deleted, so
// that whoever is killed in between, or after allowLoopback, leaves nothing behind that the next one doesn't see.
func (now *content) leaveLoopback(local *nftables.Set, dropped []element) error {
	wanted := map[way]int{}
	for _, e := range now.elements {
		if e.set == local {
			wanted[e.way()]++
		}
	}
	for _, e := range dropped {
		if e.set != local {
			continue
		}
		w := e.way()
		if wanted[w]--; wanted[w] > 0 {
			continue
		}
		if err := forbidWay(w); err != nil {
			return err
		}
	}
	return nil
}

// checkLoopback6 refuses ports at ::1 where they can't work. An answer that comes over a bridge whose packets go through ip6tables is translated
// back there, and then looks like one for ::1 from a wire.
func (a Attachment) checkLoopback6() error {
	if !slices.Contains(a.loopbacks(), netip.IPv6Loopback()) {
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

// forbidLoopback puts a link back to normal; it may be gone.
func forbidLoopback(link string) error {
	return errors.Join(forbidWay(way{link, netip.AddrFrom4([4]byte{127, 0, 0, 1})}), forbidWay(way{link, netip.IPv6Loopback()}))
}

// forbidWay is the opposite of allowWay. What was set by others before or since stays.
func forbidWay(w way) error {
	if w.lo.Is6() {
		err := changeRoute(w.link, netlink.RouteDel)
		if errors.Is(err, syscall.ESRCH) || errors.Is(err, errdefs.ErrNotFound) {
			return nil
		}
		return err
	}
	now, err := sysctl.Get("ipv4", "conf", w.link, "route_localnet")
	if errors.Is(err, fs.ErrNotExist) || err == nil && now != ourLocalnet {
		return nil
	}
	if err != nil {
		return err
	}
	return sysctl.SetIfPresent("0", "ipv4", "conf", w.link, "route_localnet")
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
