package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func parse(conf, args string) (config, error) {
	if !strings.HasPrefix(conf, "{") {
		conf = `{"ipam":{` + conf + `}}`
	}
	fields, err := plugin.ParseArgs(args)
	if err != nil {
		return config{}, err
	}
	return parseConfig(plugin.Config{CNIVersion: "1.1.0", Raw: []byte(conf)}, fields)
}

func TestAddresses(t *testing.T) {
	const one = `"addresses":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"}]`
	for name, tc := range map[string]struct{ conf, args, want string }{
		"none":               {``, ``, "[]"},
		"configured":         {one, ``, "[{10.0.0.2/24 10.0.0.1}]"},
		"both families":      {`"addresses":[{"address":"10.0.0.2/24"},{"address":"fd00::2/64","gateway":"fd00::1"}]`, ``, "[{10.0.0.2/24 invalid IP} {fd00::2/64 fd00::1}]"},
		"mapped":             {`"addresses":[{"address":"::ffff:10.0.0.2/120","gateway":"::ffff:10.0.0.1"}]`, ``, "[{10.0.0.2/24 10.0.0.1}]"},
		"gateway elsewhere":  {`"addresses":[{"address":"10.0.0.2/32","gateway":"169.254.1.1"}]`, ``, "[{10.0.0.2/32 169.254.1.1}]"},
		"CNI_ARGS add":       {one, `IP=10.0.1.2/24, fd00::2/64;GATEWAY=10.0.1.1,fd00::1`, "[{10.0.0.2/24 10.0.0.1} {10.0.1.2/24 10.0.1.1} {fd00::2/64 fd00::1}]"},
		"args replace":       {`{"ipam":{` + one + `},"args":{"cni":{"ips":["10.0.2.2/24"]}}}`, `IP=10.0.1.2/24`, "[{10.0.2.2/24 invalid IP}]"},
		"capability is last": {`{"ipam":{` + one + `},"args":{"cni":{"ips":["10.0.2.2/24"]}},"runtimeConfig":{"ips":["10.0.3.2/24"]}}`, ``, "[{10.0.3.2/24 invalid IP}]"},
	} {
		c, err := parse(tc.conf, tc.args)
		if got := fmt.Sprint(c.Addresses); err != nil || got != tc.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, tc.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct{ conf, args string }{
		"no JSON":                {`{`, ``},
		"no ipam":                {`{}`, ``},
		"no prefix length":       {`"addresses":[{"address":"10.0.0.2"}]`, ``},
		"unspecified":            {`"addresses":[{"address":"0.0.0.0/0"}]`, ``},
		"multicast":              {`"addresses":[{"address":"ff02::1/64"}]`, ``},
		"zone":                   {`"addresses":[{"address":"fe80::1%eth0/64"}]`, ``},
		"gateway of the other":   {`"addresses":[{"address":"10.0.0.2/24","gateway":"fd00::1"}]`, ``},
		"gateway":                {`"addresses":[{"address":"10.0.0.2/24","gateway":"x"}]`, ``},
		"twice":                  {`"addresses":[{"address":"10.0.0.2/24"},{"address":"10.0.0.2/16"}]`, ``},
		"null route":             {`"routes":[null]`, ``},
		"route without dst":      {`"routes":[{"gw":"10.0.0.1"}]`, ``},
		"args, no prefix length": {`{"ipam":{},"args":{"cni":{"ips":["10.0.0.2"]}}}`, ``},
		"CNI_ARGS IP":            {``, `IP=10.0.0.2`},
		"CNI_ARGS GATEWAY":       {``, `IP=10.0.0.2/24;GATEWAY=x`},
	} {
		if _, err := parse(tc.conf, tc.args); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOldVersionsHaveRoomForOneOfEachFamily(t *testing.T) {
	for version, good := range map[string]bool{"0.1.0": false, "0.2.0": false, "0.3.0": true, "1.1.0": true} {
		_, err := parseConfig(plugin.Config{CNIVersion: version, Raw: []byte(`{"ipam":{"addresses":[{"address":"10.0.0.2/24"},{"address":"10.0.1.2/24"}]}}`)}, nil)
		if (err == nil) != good {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"ipam":{"addresses":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{}}}`), "10.0.1.2/24", "10.0.1.1")
	f.Add([]byte(`{"ipam":{},"runtimeConfig":{"ips":["::ffff:1.2.3.4/96"]}}`), "", "")
	f.Fuzz(func(t *testing.T, data []byte, ip, gateway string) {
		c, err := parseConfig(plugin.Config{CNIVersion: "0.2.0", Raw: data}, map[string]string{"IP": ip, "GATEWAY": gateway})
		if err != nil {
			return
		}
		for _, a := range c.Addresses {
			if p := a.Prefix; !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "" || a.Gateway.IsValid() && a.Gateway.Is4() != p.Addr().Is4() {
				t.Fatalf("%+v", a)
			}
		}
	})
}
