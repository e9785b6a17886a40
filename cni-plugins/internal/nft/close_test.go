package nft

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// A socket that is left to the kernel outlives its descriptor, and in the end goes. That it goes is seen from its namespace, which nothing
// else refers to: with this dies the far end of a link.
func TestSocketsAreHeldAndThenGo(t *testing.T) {
	path := testutil.NewNetNS(t)
	gone := watchForEnd(t, path, "far0")
	var d *dumper
	var table *os.File
	testutil.InNetNS(t, path, func() (err error) {
		if d, err = newDumper(); err != nil {
			return err
		}
		if _, err := d.sets(); !errors.Is(err, syscall.ENOENT) {
			return err
		}
		table, err = os.Open("/proc/thread-self/net/netlink")
		return err
	})
	letGo, err := hold([]int{d.fd})
	testutil.Must(t, errors.Join(err, d.close()))
	if data, err := io.ReadAll(table); err != nil || sockets(string(data), syscall.NETLINK_NETFILTER) != 1 {
		t.Errorf("the kernel does not hold the socket, %v:\n%s", err, data)
	}
	testutil.Must(t, errors.Join(table.Close(), syscall.Unmount(path, syscall.MNT_DETACH), letGo()))
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the socket is never closed")
	}
}

// What the kernel won't hold is closed as usual.
func TestSocketsThatAreNotHeld(t *testing.T) {
	closed := errors.New("closed")
	if err := closeLater(func() error { return closed }, -1); !errors.Is(err, closed) {
		t.Error(err)
	}
}

// sockets counts those of a protocol in the text of /proc/net/netlink.
func sockets(text string, protocol int) (n int) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == strconv.Itoa(protocol) && f[2] != "0" {
			n++
		}
	}
	return n
}

// watchForEnd puts the far end of a link into a namespace. The channel tells when it is gone.
func watchForEnd(t *testing.T, path, name string) <-chan struct{} {
	t.Helper()
	updates, done := make(chan netlink.LinkUpdate), make(chan struct{})
	testutil.Must(t, netlink.LinkSubscribe(updates, done))
	ns, err := netns.Open(path)
	testutil.Must(t, err)
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near0"}, PeerName: name, PeerNamespace: netlink.NsFd(int(ns.File().Fd()))}
	testutil.Must(t, errors.Join(netlink.LinkAdd(link), ns.Close()))
	gone := make(chan struct{})
	go func() {
		for u := range updates {
			if u.Header.Type == syscall.RTM_DELLINK && u.Link.Attrs().Name == link.Name {
				close(gone)
			}
		}
	}()
	t.Cleanup(func() { close(done) })
	return gone
}
