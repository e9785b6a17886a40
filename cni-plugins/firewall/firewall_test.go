package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugintest"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// onBridge makes a container's host end a port of a bridge.
func onBridge(t *testing.T, c *plugintest.Container, bridge string) netlink.Link {
	t.Helper()
	var end netlink.Link
	testutil.Must(t, link.WithHost(func(h *netlink.Handle) error {
		testutil.Must(t, h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}))
		br, err := h.LinkByName(bridge)
		testutil.Must(t, err)
		end, err = h.LinkByName(c.HostLink())
		testutil.Must(t, err)
		return h.LinkSetMaster(end, br)
	}))
	t.Cleanup(func() {
		testutil.Must(t, link.WithHost(func(h *netlink.Handle) error { return link.Remove(h, bridge) }))
	})
	return end
}

func isIsolated(t *testing.T, l netlink.Link) (cut bool) {
	t.Helper()
	testutil.Must(t, link.WithHost(func(h *netlink.Handle) (err error) { cut, err = link.IsIsolated(h, l); return err }))
	return cut
}

// ruleset is what nft shows of our table.
func ruleset(t *testing.T) string {
	t.Helper()
	out, _ := exec.Command("nft", "list", "table", "inet", "berth").Output() // fails if there is none
	return string(out)
}

func TestLife(t *testing.T) {
	c := plugintest.NewContainer(t, "c1")
	end := onBridge(t, c, "brt0")
	for _, policy := range []string{"same-bridge", "isolated"} {
		conf := plugintest.Conf{"prevResult": c.Prev(), "ingressPolicy": policy}
		for range 2 { // again, as after an ADD that was killed
			added := plugintest.Good(t, commands(), "ADD", c, conf, nil)
			if text := fmt.Sprint(added.Result); !strings.Contains(text, "advmss:1200") || added.Stderr != "" {
				t.Errorf("result %s, stderr %q", text, added.Stderr)
			}
			plugintest.Good(t, commands(), "CHECK", c, conf, nil)
		}
		rules := ruleset(t)
		if !strings.Contains(rules, `10.9.0.2 . "brt0" comment "net/c1/eth0"`) || strings.Count(rules, "10.9.0.2") != map[string]int{"same-bridge": 1, "isolated": 2}[policy] {
			t.Errorf("%s: %s", policy, rules)
		}
		if isIsolated(t, end) != (policy == "isolated") {
			t.Errorf("%s: the port's isolation is %v", policy, isIsolated(t, end))
		}
		for range 2 {
			plugintest.Good(t, commands(), "DEL", c, plugintest.Conf{}, map[string]string{"CNI_NETNS": ""})
		}
		if rules := ruleset(t); rules != "" {
			t.Errorf("%s: left %s", policy, rules)
		}
		if a := plugintest.Run(t, commands(), "CHECK", c, conf, nil); a.Code != plugin.CodeMismatch {
			t.Errorf("CHECK after DEL: %+v", a)
		}
	}
}

func TestOpenWritesNothing(t *testing.T) {
	c := plugintest.NewContainer(t, "c1")
	conf := plugintest.Conf{"prevResult": c.Prev()}
	for _, verb := range []string{"ADD", "CHECK", "DEL", "STATUS"} {
		plugintest.Good(t, commands(), verb, c, conf, nil)
		if rules := ruleset(t); rules != "" {
			t.Errorf("%s: %s", verb, rules)
		}
	}
}

func TestWithoutABridgeTheLinkIsTheWall(t *testing.T) {
	c := plugintest.NewContainer(t, "c1")
	conf := plugintest.Conf{"prevResult": c.Prev(), "ingressPolicy": "isolated"}
	plugintest.Good(t, commands(), "ADD", c, conf, nil)
	plugintest.Good(t, commands(), "CHECK", c, conf, nil)
	if rules := ruleset(t); !strings.Contains(rules, `10.9.0.2 . "`+c.HostLink()+`"`) {
		t.Error(rules)
	}
	plugintest.Good(t, commands(), "GC", c, plugintest.Conf{"cni.dev/valid-attachments": nil}, nil)
	if rules := ruleset(t); rules != "" {
		t.Errorf("left %s", rules)
	}
}

func TestCheckLooksAtThePort(t *testing.T) {
	c := plugintest.NewContainer(t, "c1")
	end := onBridge(t, c, "brt0")
	conf := plugintest.Conf{"prevResult": c.Prev(), "ingressPolicy": "isolated"}
	plugintest.Good(t, commands(), "ADD", c, conf, nil)
	testutil.Must(t, link.WithHost(func(h *netlink.Handle) error { return link.SetIsolated(h, end, false) }))
	if a := plugintest.Run(t, commands(), "CHECK", c, conf, nil); a.Code != plugin.CodeMismatch {
		t.Errorf("%+v", a)
	}
	plugintest.Good(t, commands(), "DEL", c, conf, nil)
}

func TestFailedAddUndoesAll(t *testing.T) {
	c := plugintest.NewContainer(t, "c1")
	prev := c.Prev()
	prev["ips"] = []any{}
	testutil.Must(t, c.NS.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "net1"}}))
	other := c.Prev()
	other["interfaces"] = []any{plugintest.Conf{"name": "x"}, plugintest.Conf{"name": "net1", "sandbox": c.Netns}}
	for want, tc := range map[string]struct {
		prev plugintest.Conf
		vars map[string]string
	}{
		"no address":  {prev, nil},
		"is a bridge": {other, map[string]string{"CNI_IFNAME": "net1"}},
	} {
		a := plugintest.Run(t, commands(), "ADD", c, plugintest.Conf{"prevResult": tc.prev, "ingressPolicy": "isolated"}, tc.vars)
		if a.Code != 7 || !strings.Contains(a.Msg, want) {
			t.Errorf("want %s: %d %s", want, a.Code, a.Msg)
		}
	}
	if rules := ruleset(t); rules != "" {
		t.Errorf("left %s", rules)
	}
}

func TestWarnings(t *testing.T) {
	c := plugintest.NewContainer(t, "c1")
	nft := func(text string) {
		if out, err := exec.Command("nft", text).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	nft("add table ip other; add chain ip other FORWARD { type filter hook forward priority 0; policy drop; }")
	a := plugintest.Good(t, commands(), "ADD", c, plugintest.Conf{"prevResult": c.Prev(), "backend": "iptables"}, nil)
	for _, want := range []string{"always writes nftables", "ip other FORWARD"} {
		if !strings.Contains(a.Stderr, want) {
			t.Errorf("stderr %q lacks %q", a.Stderr, want)
		}
	}
	nft("delete table ip other")
}

func TestConfig(t *testing.T) {
	for keys, want := range map[string]config{
		``:                              {},
		`"ingressPolicy":"open"`:        {},
		`"ingressPolicy":"same-bridge"`: {Policy: sameBridge},
		`"ingressPolicy":"isolated","backend":"nftables"`: {Policy: isolated},
		`"backend":"firewalld","firewalldZone":"trusted"`: {Foreign: "firewalld"},
	} {
		if c, err := parseConfig([]byte(`{` + keys + `}`)); err != nil || c != want {
			t.Errorf("%s: %+v, %v", keys, c, err)
		}
	}
	for keys, kind := range map[string]error{
		`"ingressPolicy":"closed"`:         errdefs.ErrInvalid,
		`"ingressPolicy":1`:                errdefs.ErrInvalid,
		`"backend":"pf"`:                   errdefs.ErrNotSupported,
		`"iptablesAdminChainName":"ADMIN"`: errdefs.ErrNotSupported,
		`"firewalldZone":"dmz"`:            errdefs.ErrNotSupported,
	} {
		if _, err := parseConfig([]byte(`{` + keys + `}`)); !errors.Is(err, kind) {
			t.Errorf("%s: %v", keys, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"backend":"iptables","ingressPolicy":"isolated","firewalldZone":"trusted"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parseConfig(data); err == nil && (c.Policy < open || c.Policy > isolated) {
			t.Fatalf("%+v", c)
		}
	})
}
