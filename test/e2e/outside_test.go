package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/testutil"
)

// The addresses of the link between the node and the world outside of it (RFC 5737, for documentation).
const (
	nodeAddress    = "192.0.2.1"
	outsideAddress = "192.0.2.2"
)

// outside makes a network namespace that plays another machine, linked to the node, and returns the path of its pin.
func outside(t *testing.T) string {
	t.Helper()
	path := testutil.NewNetNS(t)
	ns, err := os.Open(path)
	testutil.Must(t, err)
	defer ns.Close()
	testutil.Must(t, netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "uplink"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns.Fd())),
	}))
	link, err := netlink.LinkByName("uplink")
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, netlink.LinkDel(link)) })
	testutil.Must(t, up("uplink", nodeAddress))
	testutil.InNetNS(t, path, func() error { return up("eth0", outsideAddress) })
	return path
}

func up(name, address string) error {
	h, err := netlink.NewHandle(syscall.NETLINK_ROUTE) // all families would need modules that a small kernel lacks
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(address + "/24")
	if err != nil {
		return err
	}
	addr.Flags = 0x80 // IFA_F_NODAD
	if err := h.AddrAdd(link, addr); err != nil {
		return err
	}
	return h.LinkSetUp(link)
}

// get fetches a page over one connection of its own.
func get(dial func(network, address string) (net.Conn, error), url string) (string, error) {
	client := &http.Client{Transport: &http.Transport{Dial: dial, DisableKeepAlives: true}, Timeout: 5 * time.Second} //lint:ignore SA1019 the dialer runs on one thread and ends with it
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(body), err
}

// dialFrom connects from the network namespace at path; "" is the test's own.
func dialFrom(t *testing.T, path string) func(network, address string) (net.Conn, error) {
	return func(network, address string) (conn net.Conn, err error) {
		dial := func() error {
			conn, err = net.DialTimeout(network, address, 5*time.Second)
			return err
		}
		if path == "" {
			return conn, dial()
		}
		dialErr := error(nil)
		testutil.InNetNS(t, path, func() error { dialErr = dial(); return nil })
		return conn, dialErr
	}
}

// udp sends one datagram and returns the answer.
func udp(t *testing.T, path, address, text string) (string, error) {
	conn, err := dialFrom(t, path)("udp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		return "", err
	}
	buf := make([]byte, 2048)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}
