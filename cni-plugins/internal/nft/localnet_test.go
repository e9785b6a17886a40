package nft

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

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
