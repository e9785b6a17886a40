package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
)

// subnets is what the node's routes and addresses take.
type subnets struct {
	taken     []netip.Prefix
	ownBridge netip.Prefix // IPv4 subnet on the bridge of the built-in network, from before; invalid if there is none
}

func (s subnets) overlaps(p netip.Prefix) bool {
	for _, t := range s.taken {
		if t.Overlaps(p) {
			return true
		}
	}
	return false
}

// takenSubnets reads the routes of all tables and the addresses of all links. The default route takes nothing.
func takenSubnets(bridge string) (_ subnets, err error) {
	h, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return subnets{}, fmt.Errorf("open netlink socket: %w", err)
	}
	defer h.Close()
	var s subnets
	routes, err := dump(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: syscall.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return subnets{}, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if p := prefix(r.Dst); p.IsValid() && p.Bits() > 0 {
			s.taken = append(s.taken, p)
		}
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return subnets{}, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		s.taken = append(s.taken, prefix(a.IPNet))
	}
	s.ownBridge, err = bridgeSubnet(h, bridge)
	return s, err
}

func bridgeSubnet(h *netlink.Handle, name string) (netip.Prefix, error) {
	link, err := h.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return netip.Prefix{}, nil
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("look for link %s: %w", name, err)
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("list addresses of %s: %w", name, err)
	}
	if len(addrs) == 0 {
		return netip.Prefix{}, nil
	}
	return prefix(addrs[0].IPNet), nil
}

// dump asks again while changes by others interrupt the listing (NLM_F_DUMP_INTR), within reason.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	const tries = 1000
	for range tries - 1 {
		if all, err := list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return list()
}

// prefix converts a network; nil gives an invalid prefix.
func prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr.Unmap(), ones).Masked()
}
