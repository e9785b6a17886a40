package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/netns"
)

// SCTP tells the other side all addresses that a socket has, and its paths to those go past the translation of the first: so each socket
// here has one.

// serveSCTP answers at an address of a namespace as [env.serve] does, to associations of one stream, which the kernel shows as connections.
func (e *env) serveSCTP(h *netns.Handle, at string) error {
	addr, family, err := sockaddr(at)
	if err != nil {
		return err
	}
	var l net.Listener
	err = h.Do(func() error {
		fd, err := socketSCTP(family)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "sctp")
		defer f.Close() // the listener has a copy
		if err := syscall.Bind(fd, addr); err != nil {
			return fmt.Errorf("bind to %s by sctp: %w", at, err)
		}
		if err := syscall.Listen(fd, 16); err != nil {
			return fmt.Errorf("listen at %s by sctp: %w", at, err)
		}
		l, err = net.FileListener(f)
		return err
	})
	if err != nil {
		return err
	}
	e.cu.Add(l.Close)
	go answerAll(l, answerSCTP)
	return nil
}

// answerSCTP hears the whole question first: an association has no half-closed state in which it could be read to its end.
func answerSCTP(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(answerTime))
	_, _ = c.Read(make([]byte, 64))
	_, _ = io.WriteString(c, c.RemoteAddr().String())
	_ = c.Close()
}

func sockaddr(text string) (syscall.Sockaddr, int, error) {
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return nil, 0, err
	}
	if ap.Addr().Is4() {
		return &syscall.SockaddrInet4{Addr: ap.Addr().As4(), Port: int(ap.Port())}, syscall.AF_INET, nil
	}
	return &syscall.SockaddrInet6{Addr: ap.Addr().As16(), Port: int(ap.Port())}, syscall.AF_INET6, nil
}

func socketSCTP(family int) (int, error) {
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, syscall.IPPROTO_SCTP)
	if errors.Is(err, syscall.EPROTONOSUPPORT) {
		return -1, lacking("SCTP")
	}
	return fd, err
}

func dialSCTP(target string, wait time.Duration) (net.Conn, error) {
	to, family, err := sockaddr(target)
	if err != nil {
		return nil, err
	}
	fd, err := socketSCTP(family)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "sctp")
	defer f.Close() // the connection has a copy
	from, err := sourceOf(target)
	if err != nil {
		return nil, err
	}
	if err := syscall.Bind(fd, from); err != nil {
		return nil, fmt.Errorf("bind for sctp %s: %w", target, err)
	}
	limit := syscall.NsecToTimeval(wait.Nanoseconds())
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &limit); err != nil {
		return nil, err
	}
	if err := syscall.Connect(fd, to); err != nil {
		return nil, fmt.Errorf("sctp %s: %w", target, err)
	}
	return net.FileConn(f)
}

// sourceOf is the address from which the kernel would send to a target.
func sourceOf(target string) (syscall.Sockaddr, error) {
	c, err := net.Dial("udp", target) // sends nothing
	if err != nil {
		return nil, err
	}
	defer c.Close()
	from, _, err := sockaddr(c.LocalAddr().String())
	return from, err
}
