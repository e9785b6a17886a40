package ports

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

var dual = []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}

func TestPlan(t *testing.T) {
	for name, tc := range map[string]struct {
		mappings []Mapping
		pod      []netip.Addr
		want     string
	}{
		"both families":    {[]Mapping{{80, 8080, "TCP", "", 0}}, dual, "0.0.0.0:80/tcp>10.0.0.2:8080 [::]:80/tcp>[fd00::2]:8080"},
		"IPv4 pod":         {[]Mapping{{80, 8080, "", "", 0}}, dual[:1], "0.0.0.0:80/tcp>10.0.0.2:8080"},
		"IPv4 wildcard":    {[]Mapping{{80, 8080, "udp", "0.0.0.0", 0}}, dual, "0.0.0.0:80/udp>10.0.0.2:8080"},
		"IPv6 wildcard":    {[]Mapping{{80, 8080, "udp", "::", 0}}, dual, "[::]:80/udp>[fd00::2]:8080"},
		"loopback of IPv6": {[]Mapping{{80, 8080, "tcp", "::1", 0}}, dual, "[::1]:80/tcp>[fd00::2]:8080"},
		"one address":      {[]Mapping{{80, 8080, "sctp", "192.0.2.1", 0}}, dual, "192.0.2.1:80/sctp>10.0.0.2:8080"},
		"mapped address":   {[]Mapping{{80, 8080, "tcp", "::ffff:192.0.2.1", 0}}, dual, "192.0.2.1:80/tcp>10.0.0.2:8080"},
		"range":            {[]Mapping{{80, 8080, "tcp", "192.0.2.1", 2}}, dual, "192.0.2.1:80/tcp>10.0.0.2:8080 192.0.2.1:81/tcp>10.0.0.2:8081"},
		"range of one":     {[]Mapping{{80, 8080, "tcp", "::", 1}}, dual, "[::]:80/tcp>[fd00::2]:8080"},
		"listed twice":     {[]Mapping{{80, 8080, "tcp", "", 0}, {80, 8080, "tcp", "", 0}}, dual[:1], "0.0.0.0:80/tcp>10.0.0.2:8080"},
		"one to two ports": {[]Mapping{{80, 8080, "tcp", "", 0}, {81, 8080, "tcp", "", 0}}, dual[:1], "0.0.0.0:80/tcp>10.0.0.2:8080 0.0.0.0:81/tcp>10.0.0.2:8080"},
	} {
		plan, err := Plan(tc.mappings, tc.pod, false)
		var got []string
		for _, p := range plan {
			got = append(got, fmt.Sprintf("%s>%s", p, p.Pod))
		}
		if text := strings.Join(got, " "); err != nil || text != tc.want {
			t.Errorf("%s: %s, %v; want %s", name, text, err, tc.want)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		mappings []Mapping
		pod      []netip.Addr
		kind     error
	}{
		"host port 0":         {[]Mapping{{0, 1, "tcp", "", 0}}, dual, errdefs.ErrInvalid},
		"host port 65536":     {[]Mapping{{65536, 1, "tcp", "", 0}}, dual, errdefs.ErrInvalid},
		"container port -1":   {[]Mapping{{1, -1, "tcp", "", 0}}, dual, errdefs.ErrInvalid},
		"protocol":            {[]Mapping{{1, 1, "icmp", "", 0}}, dual, errdefs.ErrInvalid},
		"host IP":             {[]Mapping{{1, 1, "tcp", "x", 0}}, dual, errdefs.ErrInvalid},
		"multicast":           {[]Mapping{{1, 1, "tcp", "224.0.0.1", 0}}, dual, errdefs.ErrInvalid},
		"zone":                {[]Mapping{{1, 1, "tcp", "fe80::1%eth0", 0}}, dual, errdefs.ErrInvalid},
		"family that is lack": {[]Mapping{{1, 1, "tcp", "2001:db8::1", 0}}, dual[:1], errdefs.ErrInvalid},
		"asked for twice":     {[]Mapping{{1, 1, "tcp", "", 0}, {1, 2, "tcp", "192.0.2.1", 0}}, dual, errdefs.ErrInvalid},
		"too many":            {make([]Mapping, 20000), dual, errdefs.ErrInvalid},
		"too long":            {[]Mapping{{1, 1, "tcp", "", 16385}}, dual, errdefs.ErrInvalid},
		"too many by ranges":  {[]Mapping{{1, 1, "tcp", "", 16384}, {20000, 1, "tcp", "", 0}}, dual, errdefs.ErrInvalid},
		"range below 0":       {[]Mapping{{1, 1, "tcp", "", -1}}, dual, errdefs.ErrInvalid},
		"range off the end":   {[]Mapping{{65535, 1, "tcp", "", 2}}, dual, errdefs.ErrInvalid},
		"range off the pod's": {[]Mapping{{1, 65535, "tcp", "", 2}}, dual, errdefs.ErrInvalid},
		"ranges that overlap": {[]Mapping{{80, 80, "tcp", "", 10}, {89, 1, "tcp", "192.0.2.1", 0}}, dual, errdefs.ErrInvalid},
	} {
		if _, err := Plan(tc.mappings, tc.pod, false); !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenPorts(t *testing.T) {
	plan, err := Plan([]Mapping{{0, 80, "tcp", "", 0}, {0, 80, "tcp", "127.0.0.1", 1}}, dual, true)
	if got := fmt.Sprint(plan); err != nil || got != "[0.0.0.0:0/tcp [::]:0/tcp 127.0.0.1:0/tcp]" {
		t.Errorf("%s, %v", got, err)
	}
	for _, m := range []Mapping{{0, 80, "tcp", "", 2}, {-1, 80, "tcp", "", 0}, {0, 0, "tcp", "", 0}} {
		if _, err := Plan([]Mapping{m}, dual, true); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%v: %v", m, err)
		}
	}
}

func published(protocol nft.Protocol, host string) []nft.Port {
	pod := "10.0.0.2:80"
	if netip.MustParseAddrPort(host).Addr().Is6() {
		pod = "[fd00::2]:80"
	}
	return []nft.Port{{Protocol: protocol, Host: netip.MustParseAddrPort(host), Pod: netip.MustParseAddrPort(pod)}}
}

// Each listener on the node takes some ports and leaves others.
func TestListeners(t *testing.T) {
	listen := func(network, address string) {
		t.Helper()
		if strings.HasPrefix(network, "udp") {
			c, err := net.ListenPacket(network, address)
			testutil.Must(t, err)
			t.Cleanup(func() { testutil.Must(t, c.Close()) })
			return
		}
		l, err := net.Listen(network, address)
		testutil.Must(t, err)
		t.Cleanup(func() { testutil.Must(t, l.Close()) })
	}
	listen("tcp4", "127.0.0.1:7001")
	listen("tcp", ":7002") // dual stack
	listen("tcp6", "[::]:7003")
	listen("udp4", "127.0.0.1:7004")
	client, err := net.Dial("udp4", "127.0.0.1:7004") // has a peer, so it takes nothing of others
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, client.Close()) })
	clientPort := client.LocalAddr().(*net.UDPAddr).Port

	for _, tc := range []struct {
		protocol nft.Protocol
		host     string
		taken    bool
	}{
		{nft.TCP, "0.0.0.0:7001", true},
		{nft.TCP, "127.0.0.1:7001", true},
		{nft.TCP, "192.0.2.1:7001", false},
		{nft.TCP, "[::]:7001", false},
		{nft.UDP, "0.0.0.0:7001", false},
		{nft.TCP, "0.0.0.0:7000", false},
		{nft.TCP, "0.0.0.0:7002", true},
		{nft.TCP, "192.0.2.1:7002", true},
		{nft.TCP, "[::]:7002", true},
		{nft.TCP, "[2001:db8::1]:7003", true},
		{nft.TCP, "0.0.0.0:7003", false},
		{nft.UDP, "0.0.0.0:7004", true},
		{nft.TCP, "0.0.0.0:7004", false},
		{nft.UDP, fmt.Sprintf("0.0.0.0:%d", clientPort), false},
		{nft.SCTP, "0.0.0.0:7001", false},
	} {
		err := checkListeners(published(tc.protocol, tc.host))
		if taken := errors.Is(err, errdefs.ErrExists); taken != tc.taken || err != nil && !taken {
			t.Errorf("%s/%s: %v", tc.host, tc.protocol, err)
		}
		many := published(tc.protocol, tc.host)
		for i := range uint16(2 * fewPorts) { // others, at ports where nobody listens
			many = append(many, nft.Port{Protocol: tc.protocol, Host: netip.AddrPortFrom(many[0].Host.Addr(), 1+i), Pod: many[0].Pod})
		}
		if err := checkListeners(many); errors.Is(err, errdefs.ErrExists) != tc.taken || err != nil && !tc.taken {
			t.Errorf("%s/%s among others: %v", tc.host, tc.protocol, err)
		}
	}
}

func FuzzDecodeListener(f *testing.F) {
	f.Add(make([]byte, diagMessageSize+8))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = decodeListener(data, 0) })
}

func FuzzDecodeConnection(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 36, 0, 1, 128, 12, 0, 1, 128, 8, 0, 2, 0, 10, 0, 0, 1, 20, 0, 2, 128, 5, 0, 1, 0, 17, 0, 0, 0, 6, 0, 3, 0, 0, 53, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, ok := decodeConnection(data); ok && !c.dst.Addr().IsValid() {
			t.Fatalf("%+v", c)
		}
	})
}
