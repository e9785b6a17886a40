package ports

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// text shows a match: only what it narrows down.
func text(m nft.Match, is4 bool) string {
	all, parts := nft.MatchAll(is4), []string{}
	if m.Links != all.Links {
		parts = append(parts, fmt.Sprintf("link %x-%x", strings.TrimRight(string(m.Links[0][:]), "\x00"), strings.TrimRight(string(m.Links[1][:]), "\x00")))
	}
	if m.From != all.From {
		parts = append(parts, fmt.Sprintf("from %s-%s", m.From[0], m.From[1]))
	}
	if m.To != all.To {
		parts = append(parts, fmt.Sprintf("to %s-%s", m.To[0], m.To[1]))
	}
	return strings.Join(parts, " ")
}

func TestConditions(t *testing.T) {
	const v4, v6 = true, false
	for words, tc := range map[string]struct {
		is4  bool
		want string
	}{
		"":                                 {v4, ""},
		"-s 10.0.0.0/8":                    {v4, "from 10.0.0.0-10.255.255.255"},
		"-d 192.0.2.1":                     {v4, "to 192.0.2.1-192.0.2.1"},
		"! -d 192.0.2.1":                   {v4, "to 0.0.0.0-192.0.2.0, to 192.0.2.2-255.255.255.255"},
		"! -s 0.0.0.0/1":                   {v4, "from 128.0.0.0-255.255.255.255"},
		"ip saddr != 128.0.0.0/1":          {v4, "from 0.0.0.0-127.255.255.255"},
		"ip6 daddr fd00::/64":              {v6, "to fd00::-fd00::ffff:ffff:ffff:ffff"},
		"! -s fc00::/7":                    {v6, "from ::-fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff, from fe00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		"-i lo":                            {v4, "link 6c6f-6c6f"},
		"-i lo+":                           {v4, "link 6c6f-6c6f" + strings.Repeat("ff", 14)},
		`iifname != "lo"`:                  {v4, "link -6c6e" + strings.Repeat("ff", 14) + ", link 6c6f" + strings.Repeat("00", 13) + "01-" + strings.Repeat("ff", 16)},
		"! -i lo -s 10.0.0.0/8":            {v4, "link -6c6e" + strings.Repeat("ff", 14) + " from 10.0.0.0-10.255.255.255, link 6c6f" + strings.Repeat("00", 13) + "01-" + strings.Repeat("ff", 16) + " from 10.0.0.0-10.255.255.255"},
		"--source 10.0.0.1 --dst 10.0.0.2": {v4, "from 10.0.0.1-10.0.0.1 to 10.0.0.2-10.0.0.2"},
	} {
		list, err := ParseConditions("conditionsV4", strings.Split(words, " "), tc.is4)
		var got []string
		for _, m := range list {
			got = append(got, text(m, tc.is4))
		}
		if s := strings.Join(got, ", "); err != nil || s != tc.want {
			t.Errorf("%s: %s, %v; want %s", words, s, err, tc.want)
		}
	}
}

func TestConditionsRefuse(t *testing.T) {
	for _, words := range []string{
		"-m state", "-p tcp", "! ", "-s", "-s x", "-s fd00::1", "-s 10.0.0.1,10.0.0.2", "-s ! 10.0.0.1", "-s 10.0.0.1 -s 10.0.0.2", "! -d 0.0.0.0/0", "-i +", "-i sixteen-letters-",
		"ip6 saddr fd00::1", "ip saddr", "ip protocol tcp", "! ip saddr 10.0.0.1", "iifname", "tcp dport 80", strings.Repeat("-s 10.0.0.1 ", 40),
	} {
		if _, err := ParseConditions("conditionsV4", strings.Split(words, " "), true); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "conditionsV4") {
			t.Errorf("%s: %v", words, err)
		}
	}
}

func TestRestrict(t *testing.T) {
	plan, err := Plan([]Mapping{{80, 8080, "tcp", "192.0.2.1", 0}, {81, 8081, "tcp", "", 0}}, dual, false)
	if err != nil {
		t.Fatal(err)
	}
	not, err := ParseConditions("conditionsV4", []string{"!", "-d", "192.0.2.0/31"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restrict(plan, not, nil); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "192.0.2.1:80/tcp") {
		t.Errorf("a host IP that the conditions exclude: %v", err)
	}
	got, err := Restrict(plan[1:], not, nil)
	if err != nil || len(got) != 3 || got[2] != plan[2] {
		t.Errorf("%v, %v", got, err)
	}
	l := listener{addr: netip.MustParseAddr("192.0.2.1")}
	if l.takes(got[0]) || l.takes(got[1]) || !l.takes(plan[1]) {
		t.Error("a process that listens where the port is not published")
	}
}

func FuzzParseConditions(f *testing.F) {
	f.Add("! -d 192.0.2.0/24 -i eth+", true)
	f.Add(`ip6 saddr != fd00::/8 iifname "lo"`, false)
	f.Fuzz(func(t *testing.T, words string, is4 bool) {
		list, err := ParseConditions("conditions", []string{words}, is4)
		if err != nil {
			return
		}
		for i, m := range list {
			p := nft.Port{Protocol: nft.TCP, Host: netip.AddrPortFrom(nft.MatchAll(is4).To[0], 1), Match: m}
			for _, o := range list[:i] {
				if other := (nft.Port{Protocol: nft.TCP, Host: p.Host, Match: o}); p.Conflicts(other) {
					t.Fatalf("%v and %v overlap", m, o)
				}
			}
			if m.From[1].Less(m.From[0]) || m.To[1].Less(m.To[0]) || m.From[0].Is4() != is4 {
				t.Fatalf("%v", m)
			}
		}
	})
}
