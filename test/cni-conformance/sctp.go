package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/netns"
)

// serveSCTP answers at a port of a namespace as [env.serve] does, to associations of one stream, which the kernel shows as connections.
func (e *env) serveSCTP(h *netns.Handle, port uint16) error {
	var l net.Listener
	err := h.Do(func() error {
		fd, err := socketSCTP(syscall.AF_INET6)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "sctp")
		defer f.Close() // the listener has a copy
		if err := syscall.Bind(fd, &syscall.SockaddrInet6{Port: int(port)}); err != nil {
			return fmt.Errorf("bind SCTP port %d: %w", port, err)
		}
		if err := syscall.Listen(fd, 16); err != nil {
			return fmt.Errorf("listen at SCTP port %d: %w", port, err)
		}
		l, err = net.FileListener(f)
		return err
	})
	if err != nil {
		return err
	}
	e.cu.Add(l.Close)
	go answerAll(l)
	return nil
}

func socketSCTP(family int) (int, error) {
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, syscall.IPPROTO_SCTP)
	if errors.Is(err, syscall.EPROTONOSUPPORT) {
		return -1, lacking("SCTP")
	}
	return fd, err
}

func dialSCTP(target string, wait time.Duration) (net.Conn, error) {
	ap, err := netip.ParseAddrPort(target)
	if err != nil {
		return nil, err
	}
	var to syscall.Sockaddr = &syscall.SockaddrInet6{Addr: ap.Addr().As16(), Port: int(ap.Port())}
	family := syscall.AF_INET6
	if ap.Addr().Is4() {
		to, family = &syscall.SockaddrInet4{Addr: ap.Addr().As4(), Port: int(ap.Port())}, syscall.AF_INET
	}
	fd, err := socketSCTP(family)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "sctp")
	defer f.Close() // the connection has a copy
	limit := syscall.NsecToTimeval(wait.Nanoseconds())
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &limit); err != nil {
		return nil, err
	}
	if err := syscall.Connect(fd, to); err != nil {
		return nil, fmt.Errorf("sctp %s: %w", target, err)
	}
	return net.FileConn(f)
}
