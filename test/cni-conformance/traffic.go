package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/berth-runtime/berth/netns"
)

// answerTime is how long an answer may take; refusals are proved by waiting less.
const (
	answerTime  = 3 * time.Second
	silenceTime = 400 * time.Millisecond
)

// serve answers in a namespace, on a TCP and a UDP port, with the address of who asks. It ends with the case.
func (e *env) serve(h *netns.Handle, port uint16) error {
	var l net.Listener
	var u net.PacketConn
	err := h.Do(func() (err error) {
		if l, err = net.Listen("tcp", fmt.Sprintf(":%d", port)); err != nil {
			return err
		}
		u, err = net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		return err
	})
	if l != nil {
		e.cu.Add(l.Close)
	}
	if err != nil {
		return err
	}
	e.cu.Add(u.Close)
	go answerAll(l, answer)
	go func() {
		buf := make([]byte, 64)
		for {
			_, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = u.WriteTo([]byte(from.String()), from)
		}
	}()
	return nil
}

func answerAll(l net.Listener, answer func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		answer(c)
	}
}

// answer tells who asks, and waits for the end of the question: a close with something unread resets the connection, and the reset may
// overtake the answer. Of errors the asker takes notice.
func answer(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(answerTime))
	_, _ = io.WriteString(c, c.RemoteAddr().String())
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
}

// ask connects from a namespace and returns the address that the server saw.
func ask(from *netns.Handle, network, target string) (netip.Addr, error) {
	return askIn(from, network, target, answerTime)
}

func askIn(from *netns.Handle, network, target string, wait time.Duration) (seen netip.Addr, err error) {
	err = from.Do(func() error {
		c, err := dial(network, target, wait)
		if err != nil {
			return err
		}
		defer c.Close()
		answer, err := converse(c, wait)
		if err != nil {
			return fmt.Errorf("%s %s: %w", network, target, err)
		}
		seen, err = parseSeen(answer)
		return err
	})
	return seen, err
}

func dial(network, target string, wait time.Duration) (net.Conn, error) {
	if network == "sctp" {
		return dialSCTP(target, wait)
	}
	return net.DialTimeout(network, target, wait)
}

func converse(c net.Conn, wait time.Duration) (string, error) {
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte("who am I")); err != nil && c.LocalAddr().Network() == "udp" {
		return "", err
	}
	buf := make([]byte, 128)
	n, err := c.Read(buf)
	if n > 0 {
		return string(buf[:n]), nil
	}
	return "", err
}

func parseSeen(answer string) (netip.Addr, error) {
	ap, err := netip.ParseAddrPort(answer)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("the server answered %q: %w", answer, err)
	}
	return ap.Addr().Unmap().WithZone(""), nil
}

// refused says what is wrong if somebody answers.
func refused(from *netns.Handle, network, target string) error {
	if seen, err := askIn(from, network, target, silenceTime); err == nil {
		return fmt.Errorf("%s %s is answered, to %s", network, target, seen)
	}
	return nil
}

// reach asks by tcp and udp and compares the source address that the server saw; "" accepts any.
func reach(from *netns.Handle, target, wantSource string) error {
	var errs []error
	for _, network := range []string{"tcp", "udp"} {
		seen, err := ask(from, network, target)
		if err == nil && wantSource != "" && seen.String() != wantSource {
			err = fmt.Errorf("%s %s: the server saw %s, want %s", network, target, seen, wantSource)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func hostPort(ip string, port int) string {
	return net.JoinHostPort(strings.TrimSuffix(ip, "%"), fmt.Sprint(port))
}
