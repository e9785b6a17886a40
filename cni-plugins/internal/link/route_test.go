package link

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// A route that the kernel can't have is the configuration's fault, of which key routes is a part.
func TestRoutesThatCantBe(t *testing.T) {
	testutil.RequireRoot(t)
	ns, err := netns.Open(testutil.NewNetNS(t))
	testutil.Must(t, err)
	defer func() { testutil.Must(t, ns.Close()) }()
	h := ns.Netlink()
	testutil.Must(t, h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer"}))
	l, err := find(h, "eth0")
	testutil.Must(t, err)
	testutil.Must(t, h.LinkSetUp(l))
	testutil.Must(t, AddAddr(h, l, netip.MustParsePrefix("10.0.0.2/24"), false))
	nowhere := 255
	for name, r := range map[string]Route{
		"gateway elsewhere": {Dst: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("192.0.2.1")},
		"scope":             {Dst: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("10.0.0.1"), Scope: &nowhere},
	} {
		if err := AddRoute(h, l, r); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 2 {
		testutil.Must(t, AddRoute(h, l, Route{Dst: netip.MustParsePrefix("10.1.0.0/16"), Gateway: netip.MustParseAddr("10.0.0.1")}))
	}
}
