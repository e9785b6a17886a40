package hostlocal

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestParseConfig(t *testing.T) {
	for name, tc := range map[string]struct {
		conf, args string
		want       string
	}{
		"old style":  {`{"ipam":{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.5"}}`, "", "[[10.0.0.5-10.0.0.254]] []"},
		"new style":  {`{"ipam":{"ranges":[[{"subnet":"10.0.0.0/24"},{"subnet":"10.0.1.0/24"}],[{"subnet":"fd00::/64"}]]}}`, "", "[[10.0.0.1-10.0.0.254 10.0.1.1-10.0.1.254] [fd00::1-fd00::ffff:ffff:ffff:ffff]] []"},
		"capability": {`{"ipam":{"subnet":"10.0.0.0/24"},"runtimeConfig":{"ipRanges":[[{"subnet":"10.9.0.0/24"}]],"ips":["10.9.0.4/24","10.9.0.4"]}}`, "", "[[10.9.0.1-10.9.0.254] [10.0.0.1-10.0.0.254]] [10.9.0.4]"},
		"wanted":     {`{"ipam":{"subnet":"10.0.0.0/24"},"args":{"cni":{"ips":["10.0.0.8"]}}}`, "10.0.0.7", "[[10.0.0.1-10.0.0.254]] [10.0.0.7 10.0.0.8]"},
		"mapped":     {`{"ipam":{"subnet":"10.0.0.0/24"}}`, "::ffff:10.0.0.7", "[[10.0.0.1-10.0.0.254]] [10.0.0.7]"},
		"other keys": {`{"ipam":{"subnet":"10.0.0.0/24","x":1},"y":2}`, "", "[[10.0.0.1-10.0.0.254]] []"},
	} {
		c, err := ParseConfig([]byte(tc.conf), map[string]string{"IP": tc.args})
		if got := fmt.Sprint(c.Pool.Sets, c.Want); err != nil || got != tc.want || c.DataDir != DefaultDataDir || c.FormerDir != formerDataDir {
			t.Errorf("%s: %s, %v; want %s", name, got, err, tc.want)
		}
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for name, conf := range map[string]string{
		"no JSON":            `{`,
		"no ipam":            `{}`,
		"empty set":          `{"ipam":{"ranges":[[]]}}`,
		"subnet":             `{"ipam":{"subnet":"10.0.0/24"}}`,
		"mapped subnet":      `{"ipam":{"subnet":"::ffff:10.0.0.0/120"}}`,
		"gateway family":     `{"ipam":{"subnet":"10.0.0.0/24","gateway":"fd00::1"}}`,
		"relative dataDir":   `{"ipam":{"subnet":"10.0.0.0/24","dataDir":"x"}}`,
		"relative resolv":    `{"ipam":{"subnet":"10.0.0.0/24","resolvConf":"x"}}`,
		"exclude":            `{"ipam":{"subnet":"10.0.0.0/24","exclude":["10.0.0"]}}`,
		"exclude host bits":  `{"ipam":{"subnet":"10.0.0.0/24","exclude":["10.0.0.1/25"]}}`,
		"exclude mapped":     `{"ipam":{"subnet":"10.0.0.0/24","exclude":["::ffff:10.0.0.1"]}}`,
		"exclude a zone":     `{"ipam":{"subnet":"fd00::/64","exclude":["fd00::2%x"]}}`,
		"exclude everything": `{"ipam":{"subnet":"10.0.0.0/30","exclude":["10.0.0.2"]}}`,
		"cooldown":           `{"ipam":{"subnet":"10.0.0.0/24","cooldown":-1}}`,
		"long cooldown":      `{"ipam":{"subnet":"10.0.0.0/24","cooldown":604801}}`,
		"route family":       `{"ipam":{"subnet":"10.0.0.0/24","routes":[{"dst":"10.0.0.0/8","gw":"fd00::1"}]}}`,
		"route mtu":          `{"ipam":{"subnet":"10.0.0.0/24","routes":[{"dst":"10.0.0.0/8","mtu":-1}]}}`,
		"route table":        `{"ipam":{"subnet":"10.0.0.0/24","routes":[{"dst":"10.0.0.0/8","table":-1}]}}`,
		"route scope":        `{"ipam":{"subnet":"10.0.0.0/24","routes":[{"dst":"10.0.0.0/8","scope":256}]}}`,
		"null route":         `{"ipam":{"subnet":"10.0.0.0/24","routes":[null]}}`,
		"route without dst":  `{"ipam":{"subnet":"10.0.0.0/24","routes":[{"gw":"10.0.0.1"}]}}`,
		"wanted address":     `{"ipam":{"subnet":"10.0.0.0/24"},"runtimeConfig":{"ips":["x"]}}`,
		"wanted with a zone": `{"ipam":{"subnet":"fd00::/64"},"runtimeConfig":{"ips":["fe80::1%eth0"]}}`,
	} {
		if _, err := ParseConfig([]byte(conf), nil); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSubnetsThatCantWork(t *testing.T) {
	for ranges, key := range map[string]string{
		`"subnet":"127.0.0.0/24"`:                      "subnet",
		`"subnet":"127.0.0.0/8"`:                       "subnet",
		`"subnet":"224.0.0.0/24"`:                      "subnet",
		`"subnet":"ff05::/64"`:                         "subnet",
		`"subnet":"::/64"`:                             "rangeStart ::1",
		`"subnet":"::/64","rangeStart":"::5"`:          "gateway ::1",
		`"subnet":"126.0.0.0/7"`:                       "rangeEnd 127.",
		`"subnet":"10.0.0.0/24","gateway":"127.0.0.1"`: "gateway",
		`"subnet":"10.0.0.0/24","gateway":"0.0.0.0"`:   "gateway",
		`"subnet":"0.0.0.0/0","rangeStart":"0.0.0.0"`:  "rangeStart",
		`"subnet":"10.0.0.0/24"`:                       "",
		`"subnet":"169.254.0.0/16"`:                    "",
		`"subnet":"fe80::/64"`:                         "",
		`"subnet":"240.0.0.0/24"`:                      "",
		`"subnet":"0.0.0.0/0","rangeStart":"10.0.0.5","rangeEnd":"10.0.0.9","gateway":"10.0.0.1"`: "",
	} {
		_, err := ParseConfig([]byte(`{"ipam":{"ranges":[[{`+ranges+`}]]}}`), nil)
		if key == "" && err != nil || key != "" && (!errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), key)) {
			t.Errorf("%s: %v", ranges, err)
		}
	}
}

func TestParseConfigOfThePool(t *testing.T) {
	c, err := ParseConfig([]byte(`{"ipam":{"subnet":"10.0.0.0/24","exclude":["10.0.0.9","10.0.0.128/25","fd00::/64"],"cooldown":90,"dataDir":"/x"}}`), nil)
	if got := fmt.Sprint(c.Pool.Exclude, " ", c.Pool.Cooldown, " ", c.DataDir, " ", c.FormerDir); err != nil || got != "[10.0.0.9/32 10.0.0.128/25 fd00::/64] 1m30s /x /x" {
		t.Errorf("%s, %v", got, err)
	}
}

// A configuration whose ranges the runtime gives must do for DEL, GC and STATUS, which get none.
func TestRangesOfTheRuntime(t *testing.T) {
	for conf, byRuntime := range map[string]bool{
		`{"name":"n","ipam":{"dataDir":"/nowhere"},"capabilities":{"ipRanges":true}}`: true,
		`{"name":"n","ipam":{"dataDir":"/nowhere"}}`:                                  false,
	} {
		r := &plugin.Request{ContainerID: "c", IfName: "eth0", Config: plugin.Config{Name: "n", Raw: []byte(conf)}}
		if err := errors.Join(Del(r), GC(r)); err != nil {
			t.Errorf("%s: %v", conf, err)
		}
		if err := Status(r); (err == nil) != byRuntime {
			t.Errorf("%s: STATUS %v", conf, err)
		}
		if _, err := Add(r); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: ADD %v", conf, err)
		}
	}
}

func TestPodKey(t *testing.T) {
	r := &plugin.Request{IfName: "eth0", Args: map[string]string{"K8S_POD_NAMESPACE": "a", "K8S_POD_NAME": "b"}}
	key := podKey(r)
	r.IfName = "eth1"
	if other := podKey(r); len(key) != 22 || other == key {
		t.Errorf("%q and %q", key, other)
	}
	if key := podKey(&plugin.Request{IfName: "eth0", Args: map[string]string{"K8S_POD_NAME": "b"}}); key != "" {
		t.Errorf("without a namespace: %q", key)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"ipam":{"subnet":"10.0.0.0/24","exclude":["10.0.0.9","10.0.0.128/25"],"cooldown":90,"routes":[{"dst":"::/0","mtu":1400,"table":5}]}}`), "")
	f.Add([]byte(`{"ipam":{"ranges":[[{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.5","gateway":"10.0.0.1"}],[{"subnet":"fd00::/64"}]],"routes":[{"dst":"0.0.0.0/0","gw":"1.2.3.4"}]}}`), "10.0.0.9")
	f.Add([]byte(`{"ipam":{"subnet":"10.0.0.0/30"},"runtimeConfig":{"ipRanges":[[]],"ips":["::1/64"]}}`), "")
	f.Fuzz(func(t *testing.T, data []byte, ip string) {
		c, err := ParseConfig(data, map[string]string{"IP": ip})
		if err != nil {
			return
		}
		for _, set := range c.Pool.Sets {
			for _, r := range set {
				if !r.Contains(r.First) || !r.Contains(r.Last) {
					t.Fatalf("range %v does not contain its ends", r)
				}
			}
		}
	})
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 1.1.1.1\nsearch a b\noptions ndots:5\n;x\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { _ = parseResolvConf(data) })
}
