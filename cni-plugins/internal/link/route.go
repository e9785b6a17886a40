package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Route is a route of a container. Zero values mean the kernel's choice; Gateway is invalid for one straight to the link.
type Route struct {
	Dst          netip.Prefix
	Gateway      netip.Addr
	MTU, AdvMSS  int
	Priority     int
	Table, Scope *int
}

// netlink turns the route into the library's form.
func (r Route) netlink(l netlink.Link) *netlink.Route {
	n := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: toIPNet(r.Dst), MTU: r.MTU, AdvMSS: r.AdvMSS, Priority: r.Priority}
	if r.Gateway.IsValid() {
		n.Gw = r.Gateway.AsSlice()
	} else {
		n.Scope = netlink.SCOPE_LINK
	}
	if r.Table != nil {
		n.Table = *r.Table
	}
	if r.Scope != nil {
		n.Scope = netlink.Scope(*r.Scope)
	}
	return n
}

// AddRoute adds a route. One that exists already is no error; one that the kernel does not take gives ErrInvalid.
func AddRoute(h *netlink.Handle, l netlink.Link, r Route) error {
	err := h.RouteAdd(r.netlink(l))
	switch {
	case err == nil, errors.Is(err, syscall.EEXIST):
		return nil
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return errdefs.Invalid("routes: the way to %s is by %s, which is in no subnet of %s: %w", r.Dst, r.Gateway, l.Attrs().Name, err)
	case errors.Is(err, syscall.EINVAL):
		return errdefs.Invalid("routes: the kernel takes no such route to %s via %s: %w", r.Dst, r.Gateway, err)
	default:
		return fmt.Errorf("add route to %s via %s to %s: %w", r.Dst, r.Gateway, l.Attrs().Name, err)
	}
}

// HasRoute tells whether a link has a route.
func HasRoute(h *netlink.Handle, l netlink.Link, r Route) (bool, error) {
	family, filter := netlink.FAMILY_V4, &netlink.Route{LinkIndex: l.Attrs().Index}
	if r.Dst.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	mask := netlink.RT_FILTER_OIF
	if r.Table != nil {
		filter.Table = *r.Table
		mask |= netlink.RT_FILTER_TABLE
	}
	list, err := listRoutes(h, family, filter, mask)
	if err != nil {
		return false, fmt.Errorf("list routes of %s: %w", l.Attrs().Name, err)
	}
	for _, have := range list {
		dst, ok := toPrefix(have.Dst)
		gw, _ := netip.AddrFromSlice(have.Gw)
		if ok && dst == r.Dst && (!r.Gateway.IsValid() || gw.Unmap() == r.Gateway) {
			return true, nil
		}
	}
	return false, nil
}

// HasAddr tells whether a link has an address.
func HasAddr(h *netlink.Handle, l netlink.Link, p netip.Prefix) (bool, error) {
	list, err := listAddrs(h, l, netlink.FAMILY_ALL)
	if err != nil {
		return false, fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
	}
	for _, a := range list {
		if have, ok := toPrefix(a.IPNet); ok && have == p {
			return true, nil
		}
	}
	return false, nil
}

// HoldsUplink tells whether the node is connected to others through a bridge, or its link into a VLAN: its default route leads there, or a bridge of
// others has a port that leads neither to a container nor to a virtual machine. routes are the node's default ones.
func HoldsUplink(h *netlink.Handle, routes []netlink.Route, bridge string, tag int) (bool, error) {
	br, err := findBridge(h, bridge)
	if errors.Is(err, errdefs.ErrNotFound) || errors.Is(err, errdefs.ErrExists) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ours := []int{br.Index}
	if tag != 0 {
		l, err := find(h, GatewayName(bridge, tag))
		if err == nil {
			ours = append(ours, l.Attrs().Index)
		} else if !errors.Is(err, errdefs.ErrNotFound) {
			return false, err
		}
	}
	for _, r := range routes {
		if slices.ContainsFunc(linksOf(r), func(i int) bool { return slices.Contains(ours, i) }) {
			return true, nil
		}
	}
	if br.Group == groupBridge {
		return false, nil
	}
	ports, err := portsOf(h, br.Index)
	return slices.ContainsFunc(ports, func(l netlink.Link) bool { return l.Type() != "veth" && l.Type() != "tuntap" && l.Type() != "tun" }), err
}

// DefaultRoutes are those of IPv4, then those of IPv6.
func DefaultRoutes(h *netlink.Handle) ([]netlink.Route, error) {
	var all []netlink.Route
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := listRoutes(h, family, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
		if err != nil {
			return nil, fmt.Errorf("list default routes: %w", err)
		}
		all = append(all, routes...)
	}
	return all, nil
}

// linksOf are the indexes of the links that a route leads to.
func linksOf(r netlink.Route) []int {
	indexes := []int{r.LinkIndex}
	for _, hop := range r.MultiPath {
		indexes = append(indexes, hop.LinkIndex)
	}
	return indexes
}

// DefaultMTU is that of the link which the first of the default routes leads to, 0 if there is none: links of pods that are larger would lose packets
// on the way out, smaller ones would lose speed.
func DefaultMTU(h *netlink.Handle, routes []netlink.Route) (int, error) {
	for _, r := range routes {
		mtu, err := leastMTU(h, r)
		if err != nil || mtu != 0 {
			return mtu, err
		}
	}
	return 0, nil
}

// leastMTU is the smallest of the links that a route leads to, lo aside; 0 if there is none.
func leastMTU(h *netlink.Handle, r netlink.Route) (int, error) {
	least := 0
	for _, i := range linksOf(r) {
		if i == 0 {
			continue
		}
		l, err := h.LinkByIndex(i)
		if err != nil {
			return 0, fmt.Errorf("look for the link of the default route: %w", err)
		}
		if a := l.Attrs(); a.Flags&net.FlagLoopback == 0 && (least == 0 || a.MTU < least) {
			least = a.MTU
		}
	}
	return least, nil
}

// Towards names the link that packets to a container's address leave the host by. An address that only a default route leads to, or none, gives
// ErrInvalid: its container is not on this host, as far as the host knows.
func Towards(h *netlink.Handle, a netip.Addr) (string, error) {
	routes, err := h.RouteGet(a.AsSlice())
	if err == nil && len(routes) > 0 && routes[0].Gw != nil {
		routes, err = h.RouteGetWithOptions(a.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
		if err == nil && len(routes) > 0 && isDefault(routes[0]) {
			err = syscall.ENETUNREACH
		}
	}
	switch {
	case errors.Is(err, syscall.ENETUNREACH):
		return "", errdefs.Invalid("this host has no route of its own to the container's address %s; the plugin before must make one (isGateway of a bridge)", a)
	case err != nil || len(routes) == 0:
		return "", fmt.Errorf("look up the route to container address %s: %w", a, err)
	}
	l, err := h.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return "", fmt.Errorf("look up the link to container address %s: %w", a, err)
	}
	return l.Attrs().Name, nil
}

func isDefault(r netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}
