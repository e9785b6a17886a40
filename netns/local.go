package netns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// groupIPv6Routes is RTNLGRP_IPV6_ROUTE as a bit.
const groupIPv6Routes = 1 << (unix.RTNLGRP_IPV6_ROUTE - 1)

// AwaitLocal waits until packets for the addresses are taken in the namespace. Those of IPv4 are as soon as a link has them. One of IPv6 is made
// usable later, by a worker of the kernel's that joins the group in which neighbours ask for it, and then adds its local route
// (addrconf_dad_work in net/ipv6/addrconf.c); while many namespaces go, that may take seconds. It ends with an error when the context does.
func (h *Handle) AwaitLocal(ctx context.Context, addrs ...netip.Addr) error {
	if missing, err := h.notLocal(addrs); err != nil || !missing.IsValid() {
		return err
	}
	news, err := h.listen(groupIPv6Routes)
	if err != nil {
		return err
	}
	defer news.Close()
	// The end of the context ends a read that waits.
	stop := context.AfterFunc(ctx, func() { _ = news.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for buf := make([]byte, 32<<10); ; {
		missing, err := h.notLocal(addrs)
		if err != nil || !missing.IsValid() {
			return err
		}
		// What the news are doesn't matter, nor that some were too many (ENOBUFS).
		if _, err := news.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("wait for the kernel to take packets for %s: %w", missing, err)
		}
	}
}

// notLocal is the first address of IPv6 that has no local route, invalid for none.
func (h *Handle) notLocal(addrs []netip.Addr) (netip.Addr, error) {
	for _, a := range addrs {
		if a.Unmap().Is4() {
			continue
		}
		routes, err := h.nl.RouteGet(a.AsSlice())
		if errors.Is(err, unix.ENETUNREACH) {
			return a, nil
		}
		if err != nil {
			return a, fmt.Errorf("look up the route to %s: %w", a, err)
		}
		if len(routes) == 0 || routes[0].Type != unix.RTN_LOCAL {
			return a, nil
		}
	}
	return netip.Addr{}, nil
}

// listen opens a socket in the namespace that gets the news of groups of NETLINK_ROUTE.
func (h *Handle) listen(groups uint32) (f *os.File, err error) {
	err = h.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		f = os.NewFile(uintptr(fd), "netlink")
		return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}))
	})
	if err != nil {
		if f != nil {
			err = closeAfter(err, f)
		}
		return nil, fmt.Errorf("listen to netlink: %w", err)
	}
	return f, nil
}
