package nft

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func wall(container, link string, isolated bool, addrs ...string) Wall {
	w := Wall{Owner: Owner{"net", container, "eth0"}, Link: link, Isolated: isolated}
	for _, a := range addrs {
		w.Addrs = append(w.Addrs, netip.MustParseAddr(a))
	}
	return w
}

func TestLifeOfWalls(t *testing.T) {
	f := open(t, "brt0")
	a, b := wall("a", "brt0", true, "10.0.0.2", "fd00::2"), wall("b", "brt0", false, "10.0.0.3")
	for range 2 { // again changes nothing
		testutil.Must(t, errors.Join(f.Wall(a), f.Wall(b), f.CheckWall(a), f.CheckWall(b)))
		if n := f.count(t); n != 1+2*2+1 { // the link, two addresses of a in two sets, that of b
			t.Fatalf("%d elements", n)
		}
	}
	before := generation(t)
	if testutil.Must(t, f.Wall(a)); generation(t) != before {
		t.Error("a wall that stands was written again")
	}
	for range 2 {
		testutil.Must(t, errors.Join(f.Unwall(a.Owner), f.CheckWall(b)))
		if n := f.count(t); n != 2 {
			t.Fatalf("%d elements", n)
		}
	}
	if err := f.CheckWall(a); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("a: %v", err)
	}
	testutil.Must(t, errors.Join(f.CollectWalls("other", nil), f.CollectWalls("net", []Owner{b.Owner}), f.CheckWall(b), f.CollectWalls("net", nil)))
	if now, err := f.read(everything, all); err != nil || now.exists {
		t.Errorf("the empty table is left, %v", err)
	}
}

// A lost container's address is given to the next one, which need not be isolated.
func TestAddressOfALostOwner(t *testing.T) {
	f := open(t, "brt0")
	lost, next := wall("lost", "brt0", true, "10.0.0.2"), wall("next", "brt0", false, "10.0.0.2")
	testutil.Must(t, errors.Join(f.Wall(lost), f.Wall(next), f.CheckWall(next), f.Unwall(lost.Owner), f.CheckWall(next)))
	if n := f.count(t); n != 2 {
		t.Errorf("%d elements", n)
	}
	testutil.Must(t, f.Unwall(next.Owner))
}

// Ports and walls of one owner are made and removed by different plugins.
func TestWallsAndPortsOfOneOwner(t *testing.T) {
	f := open(t, "brt0")
	ports := Attachment{Owner: Owner{"net", "a", "eth0"}, Link: "brt0", Ports: []Port{port(TCP, "0.0.0.0:80", "10.0.0.2:8080")}}
	w := wall("a", "brt0", false, "10.0.0.2")
	testutil.Must(t, errors.Join(f.Add(ports), f.Wall(w), f.Unwall(w.Owner), f.Check(ports), f.Wall(w)))
	removed, err := f.Remove(w.Owner)
	testutil.Must(t, errors.Join(err, f.CheckWall(w), f.Add(ports)))
	if len(removed) != 1 {
		t.Errorf("removed %v", removed)
	}
	collected, err := f.Collect("net", nil, func(string) bool { return false })
	testutil.Must(t, errors.Join(err, f.CheckWall(w), f.Unwall(w.Owner)))
	if len(collected) != 1 {
		t.Errorf("collected %v", collected)
	}
	_, err = f.Collect("net", nil, func(string) bool { return true })
	testutil.Must(t, err)
}
