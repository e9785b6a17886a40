package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/sysctl"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Bridge is how a bridge should be.
type Bridge struct {
	Name     string
	MTU      int // of a bridge that is made; 0 = the kernel's default
	Promisc  bool
	Gateways []netip.Prefix // addresses that it, or its gateway link, must have
	VLANs    bool           // it keeps VLANs apart
	Tag      int            // VLAN of the gateway addresses; 0 = they are the bridge's own
	Force    bool           // take away addresses that stand in the way
	IPv6     bool
}

// EnsureBridge makes the bridge unless it exists, and brings it into the wanted form. A link of another kind with that name gives
// an error of kind ErrExists.
func EnsureBridge(h *netlink.Handle, b Bridge) (*netlink.Bridge, error) {
	br, err := findBridge(h, b.Name)
	if errors.Is(err, errdefs.ErrNotFound) {
		br, err = makeBridge(h, b)
	}
	if err != nil {
		return nil, err
	}
	if b.Promisc && br.Promisc == 0 {
		if err := h.SetPromiscOn(br); err != nil {
			return nil, fmt.Errorf("set bridge %s promiscuous: %w", b.Name, err)
		}
	}
	if br.Flags&net.FlagUp == 0 {
		if err := h.LinkSetUp(br); err != nil {
			return nil, fmt.Errorf("set bridge %s up: %w", b.Name, err)
		}
	}
	if b.VLANs && (br.VlanFiltering == nil || !*br.VlanFiltering) {
		if err := h.BridgeSetVlanFiltering(br, true); err != nil {
			return nil, fmt.Errorf("have bridge %s keep VLANs apart: %w", b.Name, err)
		}
	}
	return br, ensureGateways(h, br, b)
}

// ensureGateways gives the bridge, or its link into a VLAN, the addresses.
func ensureGateways(h *netlink.Handle, br *netlink.Bridge, b Bridge) (err error) {
	if len(b.Gateways) == 0 {
		return nil
	}
	var gateway netlink.Link = br
	if b.Tag != 0 {
		if gateway, err = ensureVLANGateway(h, br, b.Tag); err != nil {
			return err
		}
	}
	if b.IPv6 {
		if err := sysctl.Set("0", "ipv6", "conf", gateway.Attrs().Name, "disable_ipv6"); err != nil {
			return err
		}
		if err := ensureLinkLocal(h, gateway); err != nil {
			return err
		}
	}
	for _, gw := range b.Gateways {
		if err := ensureGateway(h, gateway, gw, b); err != nil {
			return err
		}
	}
	return nil
}

// ensureLinkLocal gives a link that we made its link-local address, made of the hardware address (RFC 4291, appendix A). The kernel does that too, but
// later: when the link has had its first port for a while, and when it has looked for duplicates, which a random hardware address has none of. Without
// that address the node can't ask for the neighbours to whom it forwards packets of others (ndisc_send_ns).
func ensureLinkLocal(h *netlink.Handle, l netlink.Link) error {
	mac := l.Attrs().HardwareAddr
	if l.Attrs().Group != groupBridge || len(mac) != 6 {
		return nil
	}
	addrs, err := listAddrs(h, l, netlink.FAMILY_V6)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
	}
	if slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.IsLinkLocalUnicast() }) {
		return nil
	}
	a := netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return AddAddr(h, l, netip.PrefixFrom(a, 64), false)
}

// FindBridge returns a bridge; ErrNotFound if there is no link of that name, ErrExists if it is no bridge.
func FindBridge(h *netlink.Handle, name string) (*netlink.Bridge, error) { return findBridge(h, name) }

func findBridge(h *netlink.Handle, name string) (*netlink.Bridge, error) {
	l, err := find(h, name)
	if err != nil {
		return nil, err
	}
	br, ok := l.(*netlink.Bridge)
	if !ok {
		return nil, errdefs.Exists("link %s exists and is a %s, not a bridge", name, l.Type())
	}
	return br, nil
}

// find returns a link; ErrNotFound if there is none.
func find(h *netlink.Handle, name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, errdefs.NotFound("link %s: %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("look for link %s: %w", name, err)
	}
	return l, nil
}

// makeBridge makes a bridge with an address of its own: without one, it takes that of its lowest port and changes it as pods
// come and go.
func makeBridge(h *netlink.Handle, b Bridge) (*netlink.Bridge, error) {
	mac, err := randomMAC()
	if err != nil {
		return nil, fmt.Errorf("make bridge %s: %w", b.Name, err)
	}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{
		Name: b.Name, MTU: b.MTU, HardwareAddr: mac, Group: groupBridge, Flags: net.FlagUp, TxQLen: -1,
	}}
	if b.VLANs {
		br.VlanFiltering = &b.VLANs
	}
	if err := h.LinkAdd(br); err != nil && !errors.Is(err, syscall.EEXIST) { // EEXIST: another ADD was faster
		return nil, fmt.Errorf("make bridge %s: %w", b.Name, err)
	}
	// Router advertisements from a pod must not change the node's routes (CVE-2020-10749).
	if err := sysctl.SetIfPresent("0", "ipv6", "conf", b.Name, "accept_ra"); err != nil {
		return nil, err
	}
	return findBridge(h, b.Name)
}

// ensureGateway gives the bridge an address. Another one in an overlapping subnet is removed or refused, as two gateways would fight. With
// Force all others of IPv4 go: the route to a subnet that the node had before its configuration changed would lead nowhere.
func ensureGateway(h *netlink.Handle, l netlink.Link, gw netip.Prefix, b Bridge) error {
	name := l.Attrs().Name
	family := netlink.FAMILY_V4
	if gw.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	addrs, err := listAddrs(h, l, family)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", name, err)
	}
	for _, a := range addrs {
		have, ok := toPrefix(a.IPNet)
		switch {
		case have == gw:
			return nil
		case !ok, slices.Contains(b.Gateways, have), !have.Overlaps(gw) && (gw.Addr().Is6() || !b.Force):
			continue
		case !b.Force:
			return errdefs.Exists("%s has the address %s, which clashes with gateway %s; set forceAddress to replace it", name, have, gw)
		}
		if err := h.AddrDel(l, &netlink.Addr{IPNet: a.IPNet}); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s from %s: %w", have, name, err)
		}
	}
	return AddAddr(h, l, gw, false)
}

// RemoveIdleBridge deletes a bridge that EnsureBridge made and that has no ports left.
func RemoveIdleBridge(h *netlink.Handle, name string) error {
	br, err := findBridge(h, name)
	if errors.Is(err, errdefs.ErrNotFound) || errors.Is(err, errdefs.ErrExists) {
		return nil
	}
	if err != nil || br.Group != groupBridge {
		return err
	}
	ports, err := portsOf(h, br.Index)
	if err != nil || len(containers(ports)) > 0 {
		return err
	}
	for _, gateway := range ports {
		if err := h.LinkDel(gateway); err != nil && !errors.Is(err, syscall.ENODEV) {
			return fmt.Errorf("delete gateway port %s: %w", gateway.Attrs().Name, err)
		}
	}
	if err := h.LinkDel(br); err != nil && !errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("delete idle bridge %s: %w", name, err)
	}
	return nil
}

// IsIdleBridge tells whether a link is a bridge without ports.
func IsIdleBridge(h *netlink.Handle, name string) bool {
	br, err := findBridge(h, name)
	if err != nil {
		return false
	}
	ports, err := portsOf(h, br.Index)
	return err == nil && len(containers(ports)) == 0
}

// containers are the ports that lead to containers, or to whatever others put there: not to our gateways of VLANs.
func containers(ports []netlink.Link) []netlink.Link {
	return slices.DeleteFunc(slices.Clone(ports), func(l netlink.Link) bool { return l.Attrs().Group == groupBridge })
}

// portsOf lists the links that are ports of a bridge.
func portsOf(h *netlink.Handle, bridge int) ([]netlink.Link, error) {
	all, err := dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var ports []netlink.Link
	for _, l := range all {
		if l.Attrs().MasterIndex == bridge {
			ports = append(ports, l)
		}
	}
	return ports, nil
}

// Find returns a link; ErrNotFound if there is none.
func Find(h *netlink.Handle, name string) (netlink.Link, error) { return find(h, name) }
