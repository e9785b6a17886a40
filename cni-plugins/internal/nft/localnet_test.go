package nft

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/cni-plugins/internal/sysctl"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// routes6 counts the ways to ::1 that go through a link.
func routes6(t *testing.T, link string) int {
	t.Helper()
	out, err := exec.Command("ip", "-6", "route", "show", "table", "local", "::1", "dev", link).CombinedOutput()
	testutil.Must(t, err)
	return strings.Count(string(out), "::1")
}

func TestRouteOfLoopback6(t *testing.T) {
	f := open(t, "brt0")
	ip(t, "link", "add", "vet0", "type", "veth", "peer", "name", "vet1")
	t.Cleanup(func() { ip(t, "link", "del", "vet0") })
	a := Attachment{Owner: Owner{"net", "a", "eth0"}, Link: "vet0", Ports: []Port{port(TCP, "[::1]:81", "[fd00::2]:8080")}}
	if err := f.Add(a); !errors.Is(err, syscall.ENETDOWN) {
		t.Errorf("a link that is down: %v", err)
	}
	ip(t, "link", "set", "vet0", "up")
	for range 2 {
		testutil.Must(t, f.Add(a))
		if n := routes6(t, "vet0"); n != 1 {
			t.Errorf("%d routes", n)
		}
	}
	for range 2 {
		_, err := f.Collect("net", nil, func(string) bool { return true })
		testutil.Must(t, err)
		if n := routes6(t, "vet0"); n != 0 {
			t.Errorf("%d routes are left", n)
		}
	}
	a.Ports = []Port{port(TCP, "[::]:81", "[fd00::2]:8080")}
	testutil.Must(t, f.Add(a))
	if n := routes6(t, "vet0"); n != 0 {
		t.Errorf("%d routes for a port that is not published at ::1", n)
	}
	_, err := f.Collect("net", nil, func(string) bool { return true })
	testutil.Must(t, err)
}

func TestLoopback6BehindBridges(t *testing.T) {
	f := open(t, "brt0")
	const setting = "/proc/sys/net/bridge/bridge-nf-call-ip6tables"
	if _, err := exec.Command("cat", setting).Output(); err != nil {
		testutil.Skip(t, "no br_netfilter here")
	}
	ip(t, "link", "set", "brt0", "up")
	a := Attachment{Owner: Owner{"net", "a", "eth0"}, Link: "brt0", Ports: []Port{port(TCP, "[::1]:81", "[fd00::2]:8080")}}
	if err := f.Add(a); !errors.Is(err, errdefs.ErrNotSupported) || !strings.Contains(err.Error(), "bridge-nf-call-ip6tables") {
		t.Errorf("with br_netfilter: %v", err)
	}
}

// TestLoopbackGoesWithTheLastPort has owners of two networks behind one link that lives on.
func TestLoopbackGoesWithTheLastPort(t *testing.T) {
	f := open(t, "brt0")
	ip(t, "link", "add", "vet0", "type", "veth", "peer", "name", "vet1")
	t.Cleanup(func() { ip(t, "link", "del", "vet0") })
	ip(t, "link", "set", "vet0", "up")
	setting := func(value string) {
		testutil.Must(t, sysctl.Set(value, "ipv4", "conf", "vet0", "route_localnet"))
	}
	expect := func(when, localnet string, routes int) {
		t.Helper()
		if now, n := routeLocalnet(t, "vet0"), routes6(t, "vet0"); now != localnet || n != routes {
			t.Errorf("%s: route_localnet %s and %d routes to ::1, want %s and %d", when, now, n, localnet, routes)
		}
	}
	behind := func(network, id, host, pod string) Attachment {
		return Attachment{Owner: Owner{network, id, "eth0"}, Link: "vet0", Ports: []Port{port(TCP, host, pod)}}
	}
	remove := func(list ...Attachment) {
		t.Helper()
		for _, a := range list {
			_, err := f.Remove(a.Owner)
			testutil.Must(t, err)
		}
	}
	a, b := behind("net1", "a", "0.0.0.0:80", "10.0.0.2:80"), behind("net2", "b", "127.0.0.1:81", "10.0.0.3:80")
	c := behind("net1", "c", "192.0.2.1:82", "10.0.0.4:80")
	d, e := behind("net1", "d", "[::1]:80", "[fd00::2]:80"), behind("net1", "e", "[::1]:81", "[fd00::3]:80")
	testutil.Must(t, errors.Join(f.Add(a), f.Add(b), f.Add(c), f.Add(d), f.Add(e)))
	expect("published", "2", 1)
	remove(a, d)
	expect("one of each is left", "2", 1)
	remove(b, e)
	expect("none needs it", "0", 0)
	remove(c)

	testutil.Must(t, f.Add(a))
	_, err := f.Collect("net1", nil, func(string) bool { return false })
	testutil.Must(t, err)
	expect("GC of a link that others use", "0", 0)

	setting("1")
	testutil.Must(t, f.Add(a))
	remove(a)
	expect("set before", "1", 0)

	setting("0")
	testutil.Must(t, f.Add(a))
	f.conn.DelTable(f.obj.table)
	testutil.Must(t, errors.Join(f.conn.Flush(), f.Add(b)))
	remove(b)
	expect("the table was flushed", "0", 0)

	// Killed before route_localnet was set, and after it was put back.
	testutil.Must(t, f.Add(a))
	setting("0")
	testutil.Must(t, f.Add(a))
	expect("again after a kill", "2", 0)
	setting("0")
	remove(a)
	expect("removed after a kill", "0", 0)
	_, err = f.Collect("net1", nil, func(string) bool { return true })
	testutil.Must(t, err)
}
