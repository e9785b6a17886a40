package link

import (
	"net/netip"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// A gateway of IPv6 forwards from the first moment on, for which it needs a link-local address that waits for nothing: no port, no search for
// duplicates. It is the one that the kernel makes, so that there are not two later.
func TestGatewayHasALinkLocalAddress(t *testing.T) {
	testutil.RequireRoot(t)
	host, err := netns.Current()
	testutil.Must(t, err)
	defer func() { testutil.Must(t, host.Close()) }()
	h := host.Netlink()
	var br *netlink.Bridge
	for range 2 {
		br, err = EnsureBridge(h, Bridge{Name: "brt0", IPv6: true, Gateways: []netip.Prefix{netip.MustParsePrefix("fd00::1/64")}})
		testutil.Must(t, err)
	}
	defer func() { testutil.Must(t, Remove(h, "brt0")) }()
	local := func() (list []netlink.Addr) {
		addrs, err := listAddrs(h, br, netlink.FAMILY_V6)
		testutil.Must(t, err)
		for _, a := range addrs {
			if a.IP.IsLinkLocalUnicast() {
				list = append(list, a)
			}
		}
		return list
	}
	const unusable = syscall.IFA_F_TENTATIVE | syscall.IFA_F_OPTIMISTIC | syscall.IFA_F_DADFAILED
	if list := local(); len(list) != 1 || list[0].Flags&unusable != 0 {
		t.Fatalf("link-local addresses: %v", list)
	}
	// With a port the kernel makes its own.
	testutil.Must(t, h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "vt0", MasterIndex: br.Index}, PeerName: "vt1"}))
	defer func() { testutil.Must(t, Remove(h, "vt0")) }()
	for _, name := range []string{"vt0", "vt1"} {
		l, err := find(h, name)
		testutil.Must(t, err)
		testutil.Must(t, h.LinkSetUp(l))
	}
	_, err = find(h, "brt0") // has it take up its work now
	testutil.Must(t, err)
	if list := local(); len(list) != 1 {
		t.Errorf("link-local addresses with a port: %v", list)
	}
}
