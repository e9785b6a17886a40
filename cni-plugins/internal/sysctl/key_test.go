package sysctl

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	for key, want := range map[string]string{
		"net.ipv4.ip_forward":                "ipv4 ip_forward",
		"net/ipv4/ip_forward":                "ipv4 ip_forward",
		"net.ipv4.conf.IFNAME.forwarding":    "ipv4 conf eth0.5 forwarding",
		"net.ipv4.conf.eth1/7.forwarding":    "ipv4 conf eth1.7 forwarding",
		"net/ipv4/conf/eth1.7/forwarding":    "ipv4 conf eth1.7 forwarding",
		"net.core.somaxconn":                 "core somaxconn",
		"kernel.hostname":                    "",
		"net":                                "",
		"net.":                               "",
		"net..core":                          "",
		"net/../kernel/hostname":             "",
		"net.ipv4.//.x":                      "",
		"net.ipv4.\x00":                      "",
		"net.ipv4.a b":                       "",
		"netfilter.x":                        "",
		"":                                   "",
		"net." + strings.Repeat("a", keyMax): "",
	} {
		parts, err := ParseKey(key, "eth0.5")
		if got := strings.Join(parts, " "); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", key, got, err, want)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("net.ipv4.conf.IFNAME.forwarding", "eth0")
	f.Add("net/../../etc", "..")
	f.Fuzz(func(t *testing.T, key, ifName string) {
		parts, err := ParseKey(key, ifName)
		if err != nil {
			return
		}
		path, err := join(parts)
		if err != nil || !strings.HasPrefix(path, "/proc/sys/net/") || filepath.Clean(path) != path || strings.Count(path, "/") != 3+len(parts) {
			t.Fatalf("%q became %q, %v", key, path, err)
		}
	})
}
