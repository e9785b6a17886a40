package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func port(protocol Protocol, host, pod string) Port {
	return Port{Protocol: protocol, Host: netip.MustParseAddrPort(host), Pod: netip.MustParseAddrPort(pod)}
}

func TestTagsTellOwnersApart(t *testing.T) {
	long := strings.Repeat("x", 300)
	seen := map[string]Owner{}
	for _, o := range []Owner{
		{"net", "c1", "eth0"},
		{"net", "c1", "eth1"},
		{"net", "c2", "eth0"},
		{"net2", "c1", "eth0"},
		{long, "c1", "eth0"},
		{long + "y", "c1", "eth0"},
		{"net", long, "eth0"},
		{"net", long + "y", "eth0"},
	} {
		text := tag(o)
		if other, taken := seen[text]; taken || len(text) > 250 {
			t.Errorf("%v and %v share the tag %s", o, other, text)
		}
		seen[text] = o
		if got, ok := parseTag(text); !ok || got != o.shortened() {
			t.Errorf("%s parsed as %v, %v", text, got, ok)
		}
	}
}

func TestPortKeysComeBack(t *testing.T) {
	for _, p := range []Port{
		port(TCP, "0.0.0.0:80", "10.0.0.2:8080"), port(UDP, "192.0.2.1:65535", "10.0.0.2:1"), port(SCTP, "[2001:db8::1]:7", "[fd00::2]:7"),
	} {
		got, ok := decodePort(p.key(), p.value())
		if diff := cmp.Diff(fmt.Sprint(p, p.Pod), fmt.Sprint(got, got.Pod)); !ok || diff != "" {
			t.Errorf("%v %s", ok, diff)
		}
	}
}

func FuzzDecodePort(f *testing.F) {
	p := port(TCP, "0.0.0.0:80", "10.0.0.2:8080")
	f.Add(p.key(), p.value())
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if p, ok := decodePort(key, value); ok && (!p.Host.IsValid() || !p.Pod.IsValid()) {
			t.Fatalf("%v", p)
		}
	})
}

func TestConflicts(t *testing.T) {
	for _, tc := range []struct {
		a, b Port
		want bool
	}{
		{port(TCP, "0.0.0.0:80", "10.0.0.2:1"), port(TCP, "0.0.0.0:80", "10.0.0.3:1"), true},
		{port(TCP, "0.0.0.0:80", "10.0.0.2:1"), port(TCP, "192.0.2.1:80", "10.0.0.3:1"), true},
		{port(TCP, "192.0.2.1:80", "10.0.0.2:1"), port(TCP, "192.0.2.2:80", "10.0.0.3:1"), false},
		{port(TCP, "0.0.0.0:80", "10.0.0.2:1"), port(UDP, "0.0.0.0:80", "10.0.0.3:1"), false},
		{port(TCP, "0.0.0.0:80", "10.0.0.2:1"), port(TCP, "0.0.0.0:81", "10.0.0.3:1"), false},
		{port(TCP, "0.0.0.0:80", "10.0.0.2:1"), port(TCP, "[::]:80", "[fd00::3]:1"), false},
	} {
		if got := tc.a.Conflicts(tc.b); got != tc.want || tc.b.Conflicts(tc.a) != tc.want {
			t.Errorf("%s and %s: %v", tc.a, tc.b, got)
		}
	}
}

// open makes a link to publish for, and a firewall.
func open(t *testing.T, link string) *Firewall {
	t.Helper()
	testutil.RequireRoot(t)
	ip(t, "link", "add", link, "type", "bridge")
	t.Cleanup(func() {
		if !gone(link) {
			ip(t, "link", "del", link)
		}
	})
	f, err := Open()
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, f.Close()) })
	return f
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

func routeLocalnet(t *testing.T, link string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + link + "/route_localnet")
	testutil.Must(t, err)
	return strings.TrimSpace(string(data))
}

func (f *Firewall) count(t *testing.T) int {
	t.Helper()
	now, err := f.read(everything, all)
	testutil.Must(t, err)
	return len(now.elements)
}

func TestLifeOfTheTable(t *testing.T) {
	f := open(t, "brt0")
	a := Attachment{
		Owner: Owner{"net", "a", "eth0"}, Link: "brt0",
		Masquerade: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("fd00::/64")},
		Ports:      []Port{port(TCP, "0.0.0.0:80", "10.0.0.2:8080"), port(TCP, "[::]:80", "[fd00::2]:8080")},
	}
	b := Attachment{Owner: Owner{"net", "b", "eth0"}, Link: "brt0", Ports: []Port{port(UDP, "0.0.0.0:80", "10.0.0.3:8080")}}
	for range 2 { // again changes nothing
		testutil.Must(t, errors.Join(f.Add(a), f.Add(b), f.Check(a), f.Check(b)))
		if n := f.count(t); n != 1+2+2*2+2+2 { // link, subnets, ports and addresses of a, those of b, 127.0.0.1 of both
			t.Fatalf("%d elements", n)
		}
	}
	if routeLocalnet(t, "brt0") != "2" {
		t.Error("127.0.0.1 is not routed to the pods")
	}
	err := f.Add(Attachment{Owner: Owner{"net", "c", "eth0"}, Link: "brt0", Ports: []Port{port(TCP, "192.0.2.1:80", "10.0.0.4:1")}})
	if !errors.Is(err, errdefs.ErrExists) || !strings.Contains(err.Error(), "container a ") {
		t.Errorf("a taken port: %v", err)
	}
	for range 2 {
		ports, err := f.Remove(a.Owner)
		testutil.Must(t, err)
		a.Ports = a.Ports[:len(ports)] // the first time both, then none
		if n := f.count(t); n != 1+2+2+1 {
			t.Fatalf("%d elements", n)
		}
	}
	if err := f.Check(b); err != nil {
		t.Errorf("b after the removal of a: %v", err)
	}
	busy := func(string) bool { return false }
	_, err = f.Collect("other", nil, busy)
	testutil.Must(t, errors.Join(err, f.Check(b)))
	idle := func(string) bool { return true }
	ports, err := f.Collect("net", nil, idle)
	if err != nil || len(ports) != 1 || f.count(t) != 0 || routeLocalnet(t, "brt0") != "0" {
		t.Errorf("collected %v, %v; route_localnet %s", ports, err, routeLocalnet(t, "brt0"))
	}
	if now, err := f.read(everything, all); err != nil || now.exists {
		t.Errorf("the empty table is left, %v", err)
	}
}

// A range of ports takes more than one message, and more than the usual buffers.
func TestThousandsOfPorts(t *testing.T) {
	f := open(t, "brt0")
	a := Attachment{Owner: Owner{strings.Repeat("n", 70), strings.Repeat("a", 64), "eth0"}, Link: "brt0"}
	const count = 4096
	for i := range count {
		a.Ports = append(a.Ports, port(TCP, fmt.Sprintf("0.0.0.0:%d", 20000+i), fmt.Sprintf("10.0.0.2:%d", 1+i)))
	}
	b := Attachment{Owner: Owner{"net", "b", "eth0"}, Link: "brt0", Ports: []Port{port(TCP, "192.0.2.1:21000", "10.0.0.3:80")}}
	testutil.Must(t, errors.Join(f.Add(a), f.Check(a), f.Add(a)))
	if err := f.Add(b); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("a port of the thousands: %v", err)
	}
	b.Ports[0] = port(TCP, "0.0.0.0:80", "10.0.0.3:80")
	testutil.Must(t, f.Add(b))
	removed, err := f.Remove(a.Owner)
	if err != nil || len(removed) != count {
		t.Errorf("removed %d, %v", len(removed), err)
	}
	_, err = f.Collect("net", nil, func(string) bool { return true })
	testutil.Must(t, err)
}

// A pod without published ports must not make a transaction that deletes, nor one at all when the link is known: see the package's text.
func TestPlainPodsWriteNothing(t *testing.T) {
	f := open(t, "brt0")
	a := Attachment{Owner: Owner{"net", "a", "eth0"}, Link: "brt0", Masquerade: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}
	testutil.Must(t, f.Add(a))
	before := generation(t)
	a.Owner.ContainerID = "b"
	_, err := f.Remove(Owner{"net", "a", "eth0"})
	testutil.Must(t, errors.Join(err, f.Add(a), f.Check(a)))
	if after := generation(t); after != before {
		t.Errorf("ruleset generation went from %d to %d", before, after)
	}
	_, err = f.Collect("net", nil, func(string) bool { return true })
	testutil.Must(t, err)
}

// generation counts the transactions of the namespace (NFT_MSG_GETGEN).
func generation(t *testing.T) uint32 {
	t.Helper()
	conn, err := netlink.Dial(syscall.NETLINK_NETFILTER, nil)
	testutil.Must(t, err)
	answers, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: 10<<8 | 16, Flags: netlink.Request}, Data: make([]byte, 4)})
	testutil.Must(t, errors.Join(err, conn.Close()))
	attrs, err := netlink.NewAttributeDecoder(answers[0].Data[4:])
	testutil.Must(t, err)
	for attrs.Next() {
		if attrs.Type() == 1 { // NFTA_GEN_ID
			return binary.BigEndian.Uint32(attrs.Bytes())
		}
	}
	t.Fatal("the kernel gave no generation")
	return 0
}

// A link that is gone is forgotten with the next pod that goes.
func TestGoneLinksAreForgotten(t *testing.T) {
	f := open(t, "brt0")
	a := Attachment{Owner: Owner{"net", "a", "eth0"}, Link: "brt0", Ports: []Port{port(TCP, "0.0.0.0:80", "10.0.0.2:8080")}}
	testutil.Must(t, f.Add(a))
	ip(t, "link", "del", "brt0")
	_, err := f.Remove(a.Owner)
	testutil.Must(t, err)
	if now, err := f.read(everything, all); err != nil || now.exists {
		t.Errorf("the table is left, %v", err)
	}
}
