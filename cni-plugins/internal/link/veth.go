package link

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
)

// Veth is a pair of links from a bridge of the host into a container.
type Veth struct {
	Host, Container string           // names
	MAC             net.HardwareAddr // of the container's end; nil = random
	MTU             int              // of both ends; 0 = the kernel's default
	Hairpin         bool             // the bridge sends packets back through the port that they came from
	Isolated        bool             // no traffic to other isolated ports
	VLANs           VLANs
	CheckMAC        bool // the bridge takes nothing from it that has another hardware address
}

// AddVeth makes the pair, both ends down, the host's end a port of the bridge. A container that has a link of that name already gives
// ErrExists. Raise comes last, when the container's end is up.
func AddVeth(host *netlink.Handle, ns *netns.Handle, br *netlink.Bridge, v Veth) (hostEnd, end netlink.Link, err error) {
	mac, err := randomMAC()
	if err != nil {
		return nil, nil, err
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: v.Host, MTU: v.MTU, MasterIndex: br.Index, HardwareAddr: mac, TxQLen: -1, NumTxQueues: vethQueues, NumRxQueues: vethQueues},
		PeerName:  v.Container, PeerHardwareAddr: v.MAC, PeerNamespace: netlink.NsFd(int(ns.File().Fd())),
	}
	if err := host.LinkAdd(pair); err != nil {
		return nil, nil, explainAdd(host, ns, v, err)
	}
	hostEnd = pair
	if v.MTU == 0 {
		hostEnd, err = find(host, v.Host)
	}
	if err == nil {
		end, err = find(ns.Netlink(), v.Container)
	}
	if err == nil && v.Hairpin {
		err = wrapPort("set hairpin mode of", v.Host, host.LinkSetHairpin(hostEnd, true))
	}
	if err == nil && v.Isolated {
		err = wrapPort("isolate", v.Host, host.LinkSetIsolated(hostEnd, true))
	}
	if err == nil {
		err = v.VLANs.join(host, hostEnd)
	}
	if err == nil && v.CheckMAC {
		err = lockPort(host, hostEnd, v, end.Attrs().HardwareAddr)
	}
	if err != nil {
		return nil, nil, errors.Join(err, Remove(host, v.Host))
	}
	return hostEnd, end, nil
}

// vethQueues is as many as a veth link uses at first. Without the number, the kernel makes one for each CPU, and waits twice for RCU to put the
// others out of use.
const vethQueues = 1

// Raise sets the host's end up. While the other end is down, the kernel would take it out of service again, and wait for RCU. Asking for the
// container's end has it take up its work now, not when the kernel gets to it (linkwatch_sync_dev).
func Raise(host, container *netlink.Handle, hostEnd, end netlink.Link) error {
	if err := host.LinkSetUp(hostEnd); err != nil {
		return fmt.Errorf("set link %s up: %w", hostEnd.Attrs().Name, err)
	}
	_, err := find(container, end.Attrs().Name)
	return err
}

// randomMAC is a hardware address: unicast, locally administered.
func randomMAC() (net.HardwareAddr, error) {
	mac := make(net.HardwareAddr, 6)
	if _, err := rand.Read(mac); err != nil {
		return nil, fmt.Errorf("choose a hardware address: %w", err)
	}
	mac[0] = mac[0]&^1 | 2
	return mac, nil
}

func wrapPort(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s bridge port %s: %w", verb, name, err)
}

// explainAdd says which of the two names is taken.
func explainAdd(host *netlink.Handle, ns *netns.Handle, v Veth, err error) error {
	if !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("make veth pair %s and %s: %w", v.Host, v.Container, err)
	}
	if _, findErr := find(ns.Netlink(), v.Container); findErr == nil {
		return errdefs.Exists("make interface %s: the container has one of that name already", v.Container)
	}
	return errdefs.Exists("make interface %s: its host link %s is left from an earlier ADD; DEL removes it", v.Container, v.Host)
}

// Remove deletes a link at once, and waits for the kernel. It is idempotent.
func Remove(h *netlink.Handle, name string) error {
	l, err := find(h, name)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := h.LinkDel(l); err != nil && !errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}

// AddAddr gives a link an address, without duplicate address detection unless dad. An address that it has already is no error.
func AddAddr(h *netlink.Handle, l netlink.Link, p netip.Prefix, dad bool) error {
	a := &netlink.Addr{IPNet: toIPNet(p)}
	if !dad {
		a.Flags = ifaFlagNoDAD
	}
	if err := h.AddrAdd(l, a); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("add address %s to %s: %w", p, l.Attrs().Name, err)
	}
	return nil
}

// ifaFlagNoDAD is IFA_F_NODAD.
const ifaFlagNoDAD = 0x02

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func toPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), ok && bits > 0
}
