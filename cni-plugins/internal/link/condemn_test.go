package link

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// Whatever the kernel gives other names to: both ends are down and without addresses, and no port of the bridge.
func TestCondemn(t *testing.T) {
	path := testutil.NewNetNS(t)
	host, err := netns.Current()
	testutil.Must(t, err)
	ns, err := netns.Open(path)
	testutil.Must(t, err)
	defer func() { testutil.Must(t, errors.Join(ns.Close(), host.Close())) }()
	h, name := host.Netlink(), HostName("net", "c", "eth0")
	br, err := EnsureBridge(h, Bridge{Name: "brt0"})
	testutil.Must(t, err)
	hostEnd, end, err := AddVeth(h, ns, br, Veth{Host: name, Container: "eth0"})
	testutil.Must(t, err)
	testutil.Must(t, AddAddr(ns.Netlink(), end, netip.MustParsePrefix("10.9.0.2/24"), false))
	testutil.Must(t, errors.Join(ns.Netlink().LinkSetUp(end), Raise(h, ns.Netlink(), hostEnd, end)))
	for range 2 { // again changes nothing
		testutil.Must(t, Condemn(h, ns, name, "eth0"))
	}
	for _, side := range []struct {
		h     *netlink.Handle
		index int
		group uint32
	}{{h, hostEnd.Attrs().Index, groupCondemned}, {ns.Netlink(), end.Attrs().Index, 0}} {
		l, err := side.h.LinkByIndex(side.index)
		testutil.Must(t, err)
		addrs, err := Addrs(side.h, l)
		testutil.Must(t, err)
		if a := l.Attrs(); IsUp(l) || a.MasterIndex != 0 || a.Group != side.group || a.Name != condemnedName(a.Index) || len(addrs) > 0 {
			t.Errorf("%+v with addresses %v", a, addrs)
		}
	}
	testutil.Must(t, errors.Join(Reap(h, "brt0", "net", nil), RemoveIdleBridge(h, "brt0")))
}
