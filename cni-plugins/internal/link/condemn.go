package link

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
)

// Condemn cuts an attachment's link off for good, without waiting for its deletion; see the package's text. ns is nil when the
// container's namespace is gone. It is idempotent.
func Condemn(host *netlink.Handle, ns *netns.Handle, hostName, containerName string) error {
	hostEnd, err := find(host, hostName)
	ours := err == nil
	if err != nil && !errors.Is(err, errdefs.ErrNotFound) {
		return err
	}
	if ns != nil {
		if err := condemnContainerEnd(ns.Netlink(), containerName, ours); err != nil {
			return err
		}
	}
	if !ours {
		return nil
	}
	return ignoreGone(hostName, condemnHostEnd(host, hostEnd))
}

// condemnHostEnd takes the host's end out of use. That it goes down comes last: where something masquerades, the kernel then walks through
// all connections that it tracks, and what waits for an RCU grace period meanwhile, as leaving a bridge and a new name do, takes
// milliseconds more. Linux before 6.2 gives only those links another name that are down.
func condemnHostEnd(h *netlink.Handle, l netlink.Link) error {
	down := func() error { return h.LinkSetDown(l) }
	rename := func() error { return h.LinkSetName(l, condemnedName(l.Attrs().Index)) }
	err := firstError(
		func() error { return h.LinkSetNoMaster(l) },
		func() error { return h.LinkSetGroup(l, groupCondemned) },
		rename,
	)
	if errors.Is(err, syscall.EBUSY) {
		return firstError(down, rename)
	}
	return firstError(func() error { return err }, down)
}

// condemnContainerEnd takes the container's end out of use. One whose host end has another name was made by another plugin, and is deleted.
func condemnContainerEnd(h *netlink.Handle, name string, ours bool) error {
	l, err := find(h, name)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if !ours {
		return ignoreGone(name, h.LinkDel(l))
	}
	if err := removeCondemned(h); err != nil {
		return err
	}
	addrs, err := listAddrs(h, l, netlink.FAMILY_V4) // those of IPv6 go when the link goes down
	if err != nil {
		return ignoreGone(name, err)
	}
	err = h.LinkSetDown(l)
	for _, a := range addrs {
		if err == nil {
			err = h.AddrDel(l, &a)
		}
	}
	if err == nil {
		err = h.LinkSetName(l, condemnedName(l.Attrs().Index))
	}
	return ignoreGone(name, err)
}

// removeCondemned deletes what an earlier Condemn left in a container's namespace, so that one which is attached again and again holds one
// pair at most, also under runtimes that never call GC.
func removeCondemned(h *netlink.Handle) error {
	all, err := dump(h.LinkList)
	if err != nil {
		return fmt.Errorf("list links of the container: %w", err)
	}
	var errs []error
	for _, l := range all {
		if a := l.Attrs(); l.Type() == "veth" && a.Name == condemnedName(a.Index) && !IsUp(l) {
			errs = append(errs, ignoreGone(a.Name, h.LinkDel(l)))
		}
	}
	return errors.Join(errs...)
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// ignoreGone is for links that the kernel may be deleting at the same time, with their namespace.
func ignoreGone(name string, err error) error {
	if err == nil || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EADDRNOTAVAIL) {
		return nil
	}
	return fmt.Errorf("take link %s out of use: %w", name, err)
}

// Reap deletes, in one call, the condemned links and those of the network that belong to none of the wanted host names: what an
// ADD left that was killed, be it before or after the link became a port of the bridge.
func Reap(h *netlink.Handle, bridge, network string, wanted []string) error {
	br, err := findBridge(h, bridge)
	if err != nil && !errors.Is(err, errdefs.ErrNotFound) && !errors.Is(err, errdefs.ErrExists) {
		return err
	}
	return reap(h, func(l netlink.Link) bool {
		a := l.Attrs()
		ours := isHostName(a.Name, network) && (a.MasterIndex == 0 || br != nil && a.MasterIndex == br.Index)
		return l.Type() == "veth" && ours && !slices.Contains(wanted, a.Name)
	})
}

// reap deletes the unwanted links, and those that are condemned already, all with one wait for the kernel.
func reap(h *netlink.Handle, unwanted func(netlink.Link) bool) error {
	all, err := dump(h.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	found := false
	for _, l := range all {
		switch {
		case l.Attrs().Group == groupCondemned:
			found = true
		case unwanted(l):
			found = true
			errs = append(errs, ignoreGone(l.Attrs().Name, h.LinkSetGroup(l, groupCondemned)))
		}
	}
	if found {
		errs = append(errs, deleteGroup(groupCondemned))
	}
	return errors.Join(errs...)
}

// deleteGroup deletes all links of a group with one wait for the kernel instead of one for each link (RTM_DELLINK by IFLA_GROUP).
// The socket is a fresh one of the caller's namespace.
func deleteGroup(group uint32) error {
	req := nl.NewNetlinkRequest(syscall.RTM_DELLINK, syscall.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(syscall.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(iflaGroup, nl.Uint32Attr(group)))
	if _, err := req.Execute(syscall.NETLINK_ROUTE, 0); err != nil && !errors.Is(err, syscall.ENODEV) {
		return fmt.Errorf("delete condemned links: %w", err)
	}
	return nil
}

// iflaGroup is IFLA_GROUP.
const iflaGroup = 27

// IsUp tells whether a link is up.
func IsUp(l netlink.Link) bool { return l.Attrs().Flags&net.FlagUp != 0 }
