package link

import (
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// lockPort lets a bridge take only those frames from a port which have the hardware address of the container behind it: a port
// that is locked passes on what comes from addresses in the forwarding table only, and learns none (IFLA_BRPORT_LOCKED, Linux
// 5.18). It is a property of the port, and goes with it.
func lockPort(h *netlink.Handle, port netlink.Link, v Veth, mac []byte) error {
	name := port.Attrs().Name
	entry := &netlink.Neigh{
		LinkIndex: port.Attrs().Index, Family: syscall.AF_BRIDGE, State: netlink.NUD_NOARP, Flags: netlink.NTF_MASTER, HardwareAddr: mac,
	}
	if err := h.NeighSet(entry); err != nil {
		return fmt.Errorf("bind bridge port %s to %s: %w", name, entry.HardwareAddr, err)
	}
	if v.VLANs.Tag != 0 {
		entry.Vlan = v.VLANs.Tag
		if err := h.NeighSet(entry); err != nil {
			return fmt.Errorf("bind bridge port %s to %s in VLAN %d: %w", name, entry.HardwareAddr, entry.Vlan, err)
		}
	}
	req := nl.NewNetlinkRequest(syscall.RTM_SETLINK, syscall.NLM_F_ACK)
	msg := nl.NewIfInfomsg(syscall.AF_BRIDGE)
	msg.Index = int32(port.Attrs().Index)
	req.AddData(msg)
	info := nl.NewRtAttr(syscall.IFLA_PROTINFO|syscall.NLA_F_NESTED, nil)
	info.AddRtAttr(nl.IFLA_BRPORT_LEARNING, []byte{0})
	info.AddRtAttr(nl.IFLA_BRPORT_LOCKED, []byte{1})
	req.AddData(info)
	if _, err := req.Execute(syscall.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("lock bridge port %s: %w", name, err)
	}
	// Older kernels ignore what they don't know.
	if locked, err := IsLocked(port); err != nil || locked {
		return err
	}
	return errdefs.New(errdefs.ErrNotSupported, "macspoofchk: this kernel can't lock ports of bridges (Linux 5.18)")
}

// IsLocked tells whether a port of a bridge is locked.
func IsLocked(port netlink.Link) (bool, error) {
	req := nl.NewNetlinkRequest(syscall.RTM_GETLINK, 0)
	msg := nl.NewIfInfomsg(syscall.AF_UNSPEC)
	msg.Index = int32(port.Attrs().Index)
	req.AddData(msg)
	answers, err := req.Execute(syscall.NETLINK_ROUTE, syscall.RTM_NEWLINK)
	if err != nil {
		return false, fmt.Errorf("look at bridge port %s: %w", port.Attrs().Name, err)
	}
	for _, a := range answers {
		if len(a) < syscall.SizeofIfInfomsg {
			continue
		}
		value, err := attribute(a[syscall.SizeofIfInfomsg:], syscall.IFLA_LINKINFO, nl.IFLA_INFO_SLAVE_DATA, nl.IFLA_BRPORT_LOCKED)
		if err != nil {
			return false, fmt.Errorf("look at bridge port %s: %w", port.Attrs().Name, err)
		}
		if len(value) == 1 {
			return value[0] != 0, nil
		}
	}
	return false, nil
}

// attribute follows a path of nested attributes; nil if there is none.
func attribute(data []byte, path ...uint16) ([]byte, error) {
	for _, kind := range path {
		list, err := nl.ParseRouteAttr(data)
		if err != nil {
			return nil, err
		}
		data = nil
		for _, a := range list {
			if a.Attr.Type&^syscall.NLA_F_NESTED == kind {
				data = a.Value
			}
		}
		if data == nil {
			return nil, nil
		}
	}
	return data, nil
}
