package link

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/netns"
)

// WithHost calls f with a netlink socket in the network namespace of the calling process.
func WithHost(f func(host *netlink.Handle) error) (err error) {
	host, err := netns.Current()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	return f(host.Netlink())
}

// Behind names the link of the host that a veth's host end leads to: the bridge that it is a port of, or itself.
func Behind(h *netlink.Handle, hostEnd netlink.Link) (string, error) {
	if hostEnd.Attrs().MasterIndex == 0 {
		return hostEnd.Attrs().Name, nil
	}
	master, err := h.LinkByIndex(hostEnd.Attrs().MasterIndex)
	if err != nil {
		return "", fmt.Errorf("look for the bridge of %s: %w", hostEnd.Attrs().Name, err)
	}
	return master.Attrs().Name, nil
}

// IsIsolated tells whether a bridge port has no traffic with other isolated ones.
func IsIsolated(h *netlink.Handle, port netlink.Link) (bool, error) {
	info, err := dump(func() ([]netlink.Protinfo, error) {
		info, err := h.LinkGetProtinfo(port)
		return []netlink.Protinfo{info}, err
	})
	if err != nil {
		return false, fmt.Errorf("read settings of bridge port %s: %w", port.Attrs().Name, err)
	}
	return info[0].Isolated, nil
}

// SetIsolated cuts a bridge port off from other isolated ones, or takes that back (Linux 4.18).
func SetIsolated(h *netlink.Handle, port netlink.Link, isolated bool) error {
	return wrapPort("isolate", port.Attrs().Name, h.LinkSetIsolated(port, isolated))
}
