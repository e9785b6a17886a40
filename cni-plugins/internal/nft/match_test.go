package nft

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// from narrows a port down to what comes by a link, "" for any, from a range.
func from(p Port, link, first, last string) Port {
	m := MatchAll(p.Pod.Addr().Is4())
	if link != "" {
		copy(m.Links[0][:], link)
		m.Links[1] = m.Links[0]
	}
	m.From = [2]netip.Addr{netip.MustParseAddr(first), netip.MustParseAddr(last)}
	p.Match = m
	return p
}

func TestConflictsOfMatches(t *testing.T) {
	web, other := port(TCP, "0.0.0.0:80", "10.0.0.2:1"), port(TCP, "0.0.0.0:80", "10.0.0.3:1")
	one, v6 := port(TCP, "192.0.2.1:80", "10.0.0.4:1"), port(TCP, "[::]:80", "[fd00::2]:1")
	left, right := from(web, "", "0.0.0.0", "9.255.255.255"), from(other, "", "10.0.0.0", "255.255.255.255")
	for _, tc := range []struct {
		a, b Port
		want bool
	}{
		{left, right, false},
		{left, other, true},
		{left, one, true},
		{from(web, "eth0", "0.0.0.0", "10.0.0.0"), right, true},
		{from(web, "eth0", "0.0.0.0", "255.255.255.255"), from(other, "eth1", "0.0.0.0", "255.255.255.255"), false},
		{from(one, "", "10.0.0.0", "10.0.0.1"), from(port(TCP, "192.0.2.2:80", "10.0.0.5:1"), "", "10.0.0.0", "10.0.0.1"), false},
		{left, v6, false},
	} {
		if got := tc.a.Conflicts(tc.b); got != tc.want || tc.b.Conflicts(tc.a) != tc.want {
			t.Errorf("%s %v and %s %v: %v", tc.a, tc.a.Match, tc.b, tc.b.Match, got)
		}
	}
}

func TestLifeOfMatches(t *testing.T) {
	f := open(t, "brt0")
	web := port(TCP, "0.0.0.0:80", "10.0.0.2:8080")
	a := Attachment{Owner: Owner{"net", "a", "eth0"}, Link: "brt0", MasqAll: true, Closed: true, Ports: []Port{
		from(web, "", "0.0.0.0", "9.255.255.255"), from(web, "", "11.0.0.0", "255.255.255.255"),
		from(port(UDP, "[2001:db8::1]:53", "[fd00::2]:53"), "eth0", "2001:db8::", "2001:db8::ffff"),
	}}
	b := Attachment{Owner: Owner{"net", "b", "eth0"}, Link: "brt0", Ports: []Port{from(port(TCP, "0.0.0.0:80", "10.0.0.3:8080"), "", "10.0.0.0", "10.255.255.255")}}
	for range 2 {
		testutil.Must(t, errors.Join(f.Add(a), f.Add(b), f.Check(a), f.Check(b)))
		if n := f.count(t); n != 2+3+2+2+1+1+2 { // link, which is closed; ports, selves and masqueraded of a; port and self of b; 127.0.0.1 of both
			t.Fatalf("%d elements", n)
		}
	}
	c := Attachment{Owner: Owner{"net", "c", "eth0"}, Link: "brt0", Ports: []Port{port(TCP, "192.0.2.1:80", "10.0.0.4:1")}}
	if err := f.Add(c); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("a port that others have for some: %v", err)
	}
	ports, err := f.Remove(a.Owner)
	testutil.Must(t, errors.Join(err, f.Check(b)))
	if len(ports) != 3 || ports[0].Host != web.Host || ports[2].Host != netip.MustParseAddrPort("[2001:db8::1]:53") {
		t.Errorf("removed %v", ports)
	}
	if err := f.Check(a); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("a after its removal: %v", err)
	}
	_, err = f.Collect("net", nil, func(string) bool { return true })
	testutil.Must(t, err)
	if now, err := f.read(everything, all); err != nil || now.exists {
		t.Errorf("the empty table is left, %v", err)
	}
}

func FuzzDecodeWhen(f *testing.F) {
	for _, p := range []Port{port(TCP, "0.0.0.0:80", "10.0.0.2:8080"), port(UDP, "[2001:db8::1]:53", "[fd00::2]:53")} {
		first, last := p.whenKeys()
		f.Add(first, last, p.value())
	}
	f.Fuzz(func(t *testing.T, first, last, value []byte) {
		p, ok := decodeWhen(first, last, value)
		if ok && (!p.Host.IsValid() || !p.Pod.IsValid() || !p.Match.From[0].IsValid() || !p.Match.To[1].IsValid()) {
			t.Fatalf("%+v", p)
		}
	})
}
