package link

import (
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// What a killed ADD leaves goes, whether or not it was a port of the bridge already; everything else stays.
func TestReapTakesOnlyWhatIsLeftOfItsNetwork(t *testing.T) {
	testutil.RequireRoot(t)
	host, err := netns.Current()
	testutil.Must(t, err)
	defer func() { testutil.Must(t, host.Close()) }()
	h := host.Netlink()
	br, err := EnsureBridge(h, Bridge{Name: "brt0"})
	testutil.Must(t, err)
	other, err := EnsureBridge(h, Bridge{Name: "brt1"})
	testutil.Must(t, err)
	add := func(name string, master int) {
		t.Helper()
		testutil.Must(t, h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: master}, PeerName: "p" + name[1:]}))
	}
	gone := []string{HostName("net", "killed", "eth0"), HostName("net", "halfway", "eth0")}
	stay := []string{HostName("net", "valid", "eth0"), HostName("net2", "killed", "eth0"), "veth1234567", HostName("net", "elsewhere", "eth0")}
	add(gone[0], br.Index)
	add(gone[1], 0)
	add(stay[0], br.Index)
	add(stay[1], br.Index)
	add(stay[2], br.Index)
	add(stay[3], other.Index)
	for range 2 {
		testutil.Must(t, Reap(h, "brt0", "net", stay[:1]))
	}
	list, err := h.LinkList()
	testutil.Must(t, err)
	var names []string
	for _, l := range list {
		names = append(names, l.Attrs().Name)
	}
	for _, name := range gone {
		if slices.Contains(names, name) {
			t.Errorf("%s is left", name)
		}
	}
	for _, name := range stay {
		if !slices.Contains(names, name) {
			t.Errorf("%s was deleted", name)
		}
		testutil.Must(t, Remove(h, name))
	}
	for _, name := range []string{"brt0", "brt1"} {
		testutil.Must(t, RemoveIdleBridge(h, name))
		if _, err := Find(h, name); err == nil {
			t.Errorf("idle bridge %s is left", name)
		}
	}
}

func TestRemoveIdleBridgeLeavesTheBridgesOfOthers(t *testing.T) {
	testutil.RequireRoot(t)
	host, err := netns.Current()
	testutil.Must(t, err)
	defer func() { testutil.Must(t, host.Close()) }()
	h := host.Netlink()
	testutil.Must(t, h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "brt0"}}))
	testutil.Must(t, RemoveIdleBridge(h, "brt0"))
	if _, err := Find(h, "brt0"); err != nil {
		t.Error(err)
	}
	testutil.Must(t, Remove(h, "brt0"))
	testutil.Must(t, RemoveIdleBridge(h, "brt0")) // and says nothing about one that is not there
}
