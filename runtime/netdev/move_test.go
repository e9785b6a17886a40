package netdev_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/netdev"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// side is one network namespace, looked at through a socket of its own.
type side struct {
	*netlink.Handle
	t *testing.T
}

func look(t *testing.T, ns *os.File) side {
	t.Helper()
	at := netns.None()
	if ns != nil {
		at = netns.NsHandle(ns.Fd())
	}
	h, err := netlink.NewHandleAt(at, syscall.NETLINK_ROUTE) // all families would need modules that a small kernel lacks
	testutil.Must(t, err)
	t.Cleanup(h.Close)
	return side{h, t}
}

// describe says how a device is: its state, hardware address, MTU and addresses of global scope.
func (s side) describe(name string) string {
	s.t.Helper()
	link, err := s.LinkByName(name)
	if err != nil {
		return "none"
	}
	list, err := s.AddrList(link, netlink.FAMILY_ALL)
	for errors.Is(err, netlink.ErrDumpInterrupted) { // the kernel adds addresses by itself
		list, err = s.AddrList(link, netlink.FAMILY_ALL)
	}
	testutil.Must(s.t, err)
	var addrs []string
	for _, a := range list {
		if a.Scope == int(netlink.SCOPE_UNIVERSE) {
			addrs = append(addrs, a.IPNet.String())
		}
	}
	slices.Sort(addrs)
	at := link.Attrs()
	return fmt.Sprint(at.Flags&net.FlagUp != 0, " ", at.HardwareAddr, " ", at.MTU, " ", addrs)
}

// pair makes a veth whose first end has addresses of several kinds.
func (s side) pair(name string) {
	s.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = name, 1400, net.HardwareAddr{2, 0, 0, 0, 0, 7}
	testutil.Must(s.t, s.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "p"}))
	s.t.Cleanup(func() {
		if l, err := s.LinkByName(name + "p"); err == nil {
			testutil.Must(s.t, s.LinkDel(l))
		}
	})
	link, err := s.LinkByName(name)
	testutil.Must(s.t, err)
	for _, text := range []string{"192.0.2.5/24", "192.0.2.6/24", "2001:db8::5/64"} {
		a, err := netlink.ParseAddr(text)
		testutil.Must(s.t, err)
		a.Flags = 0x02 // IFA_F_NODAD
		testutil.Must(s.t, s.AddrAdd(link, a))
	}
	local, err := netlink.ParseAddr("169.254.3.3/16")
	testutil.Must(s.t, err)
	local.Scope = int(netlink.SCOPE_LINK)
	testutil.Must(s.t, s.AddrAdd(link, local))
	passing, err := netlink.ParseAddr("198.51.100.9/24")
	testutil.Must(s.t, err)
	passing.ValidLft, passing.PreferedLft = 3600, 3600
	testutil.Must(s.t, s.AddrAdd(link, passing))
}

const (
	onHost = "false 02:00:00:00:00:07 1400 [192.0.2.5/24 192.0.2.6/24 198.51.100.9/24 2001:db8::5/64]"
	inside = "true 02:00:00:00:00:07 1400 [192.0.2.5/24 192.0.2.6/24 2001:db8::5/64]"
	back   = "false 02:00:00:00:00:07 1400 [192.0.2.5/24 192.0.2.6/24 2001:db8::5/64]"
)

func TestMove(t *testing.T) {
	for name, c := range map[string]struct {
		as, found string
		taken     []string // names in the container
	}{
		"same name":               {"dev0", "dev0", nil},
		"new name":                {"eth0", "eth0", nil},
		"old name is taken there": {"eth0", "eth0", []string{"dev0"}},
		"pattern":                 {"eth%d", "eth0", nil},
		"pattern with one taken":  {"eth%d", "eth1", []string{"eth0"}},
		"own name as a pattern":   {"dev%d", "dev1", []string{"dev0"}},
	} {
		t.Run(name, func(t *testing.T) {
			ns, err := netdev.NewNamespace()
			testutil.Must(t, err)
			defer ns.Close()
			host, in := look(t, nil), look(t, ns)
			for _, n := range c.taken {
				in.pair(n)
			}
			host.pair("dev0")
			if got := host.describe("dev0"); got != onHost {
				t.Fatalf("before: %s", got)
			}
			undo, err := netdev.Move(ns, []netdev.Device{{Name: "dev0", As: c.as}})
			testutil.Must(t, err)
			if got := in.describe(c.found); got != inside {
				t.Errorf("in the container: %s, want %s", got, inside)
			}
			if got := host.describe("dev0"); got != "none" {
				t.Errorf("still on the host: %s", got)
			}
			testutil.Must(t, undo())
			if got := host.describe("dev0"); got != back {
				t.Errorf("back: %s, want %s", got, back)
			}
		})
	}
}

// Others change addresses all the time, and the kernel says so of a list that it gave meanwhile (NLM_F_DUMP_INTR).
func TestMoveWhileAddressesChange(t *testing.T) {
	ns, err := netdev.NewNamespace()
	testutil.Must(t, err)
	defer ns.Close()
	host := look(t, nil)
	host.pair("dev0")
	host.pair("dev1")
	busy, err := host.LinkByName("dev1")
	testutil.Must(t, err)
	for i := range 600 { // more than the kernel lists at once
		testutil.Must(t, host.AddrAdd(busy, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(203, 0, byte(i>>8), byte(i)), Mask: net.CIDRMask(32, 32)}}))
	}
	quit, done := make(chan struct{}), make(chan error, 1)
	go func() {
		h, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
		for err == nil {
			select {
			case <-quit:
				h.Close()
				done <- nil
				return
			default:
			}
			a := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(198, 51, 100, 1), Mask: net.CIDRMask(32, 32)}}
			err = errors.Join(h.AddrAdd(busy, a), h.AddrDel(busy, a))
		}
		done <- err
	}()
	for range 50 {
		undo, err := netdev.Move(ns, []netdev.Device{{Name: "dev0", As: "dev0"}})
		testutil.Must(t, err)
		testutil.Must(t, undo())
	}
	close(quit)
	testutil.Must(t, <-done)
}

func TestMoveFails(t *testing.T) {
	for name, c := range map[string]struct {
		list []netdev.Device
		kind error
		text string
	}{
		"no such device": {[]netdev.Device{{Name: "dev0", As: "dev0"}, {Name: "dev9", As: "dev9"}}, errdefs.ErrNotFound, "dev9"},
		"name is taken":  {[]netdev.Device{{Name: "dev0", As: "lo"}}, errdefs.ErrExists, "lo already"},
		"second is":      {[]netdev.Device{{Name: "dev0", As: "lo2"}, {Name: "dev0p", As: "lo2"}}, errdefs.ErrExists, "lo2 already"},
		"can't leave":    {[]netdev.Device{{Name: "dev0", As: "dev0"}, {Name: "lo", As: "x"}}, nil, "move network device lo"},
	} {
		t.Run(name, func(t *testing.T) {
			ns, err := netdev.NewNamespace()
			testutil.Must(t, err)
			defer ns.Close()
			host := look(t, nil)
			host.pair("dev0")
			before := host.describe("dev0p")
			_, err = netdev.Move(ns, c.list)
			if err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v", err)
			}
			// A device that had not left yet keeps the address that was to expire; one that was moved and came back does not.
			if got := host.describe("dev0"); got != back && got != onHost {
				t.Errorf("not as it was: %s", got)
			}
			if got := host.describe("dev0p"); got != before {
				t.Errorf("the other one is not as it was: %s", got)
			}
		})
	}
}

func FuzzNames(f *testing.F) {
	f.Add("eth0")
	f.Add("eth%d")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, name string) {
		if netdev.CheckName(name) == nil && (name == "" || len(name) > 15 || strings.ContainsAny(name, "/: %\n\x00") || name == "..") {
			t.Fatalf("name %q", name)
		}
		if netdev.CheckPattern(name) == nil && netdev.CheckName(strings.Replace(name, "%d", "1", 1)) != nil {
			t.Fatalf("pattern %q", name)
		}
	})
}
