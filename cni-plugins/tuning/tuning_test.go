package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugintest"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

const forwarding = "/proc/sys/net/ipv4/conf/eth0/forwarding"

// see tells all that tests change of a container's eth0.
func see(t *testing.T, c *plugintest.Container) string {
	t.Helper()
	l, err := c.NS.Netlink().LinkByName("eth0")
	testutil.Must(t, err)
	a := l.Attrs()
	var sysctl, ports []byte
	testutil.Must(t, c.NS.Do(func() error {
		var err error
		sysctl, err = os.ReadFile(forwarding)
		testutil.Must(t, err)
		ports, err = os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports")
		return err
	}))
	return fmt.Sprintf("mac %s mtu %d promisc %v allmulti %v txQLen %d forwarding %s reserved %s", a.HardwareAddr, a.MTU,
		a.RawFlags&syscall.IFF_PROMISC != 0, a.RawFlags&syscall.IFF_ALLMULTI != 0, a.TxQLen, strings.TrimSpace(string(sysctl)), strings.TrimSpace(string(ports)))
}

func everything(c *plugintest.Container, dir string) plugintest.Conf {
	return plugintest.Conf{
		"dataDir": dir, "prevResult": c.Prev(), "mac": "0A:00:00:00:00:01", "mtu": 1300, "promisc": true, "allmulti": true, "txQLen": 77,
		"sysctl": plugintest.Conf{"net.ipv4.conf.IFNAME.forwarding": "1", "net.ipv4.ip_local_reserved_ports": "8080,9148"},
	}
}

const changed = "mac 0a:00:00:00:00:01 mtu 1300 promisc true allmulti true txQLen 77 forwarding 1 reserved 8080,9148"

func empty(t *testing.T, dir string) {
	t.Helper()
	list, err := filepath.Glob(dir + "/net/*")
	if testutil.Must(t, err); len(list) > 0 {
		t.Errorf("records left: %v", list)
	}
}

func TestLife(t *testing.T) {
	c, dir := plugintest.NewContainer(t, "c1"), t.TempDir()
	before := see(t, c)
	conf := everything(c, dir)
	for range 2 { // again, as after an ADD that was killed: what was before stays known
		added := plugintest.Good(t, commands(), "ADD", c, conf, nil)
		if got := see(t, c); got != changed {
			t.Fatalf("after ADD: %s", got)
		}
		text := fmt.Sprint(added.Result)
		for _, part := range []string{"mac:0a:00:00:00:00:01", "mtu:1300", "advmss:1200", "priority:7", "table:5", "scope:0", "dst:10.0.0.0/8"} {
			if !strings.Contains(text, part) {
				t.Errorf("result lacks %s: %s", part, text)
			}
		}
		plugintest.Good(t, commands(), "CHECK", c, conf, nil)
	}
	for range 2 {
		plugintest.Good(t, commands(), "DEL", c, plugintest.Conf{"dataDir": dir}, nil)
		if got := see(t, c); got != before {
			t.Errorf("after DEL: %s, want %s", got, before)
		}
	}
	if a := plugintest.Run(t, commands(), "CHECK", c, conf, nil); a.Code != plugin.CodeMismatch {
		t.Errorf("CHECK after DEL: %+v", a)
	}
	empty(t, dir)
}

func TestFailedAddUndoesAll(t *testing.T) {
	c, dir := plugintest.NewContainer(t, "c1"), t.TempDir()
	before := see(t, c)
	for _, wrong := range []plugintest.Conf{
		{"mtu": mtuMax},
		{"sysctl": plugintest.Conf{"net.ipv4.conf.IFNAME.forwarding": "1", "net.ipv4.ip_local_reserved_ports": "x"}},
		{"sysctl": plugintest.Conf{"net.ipv4.no_such_setting": "1"}},
	} {
		a := plugintest.Run(t, commands(), "ADD", c, everything(c, dir).With(wrong), nil)
		if a.Code != 7 || see(t, c) != before {
			t.Errorf("%v: code %d, %s; now %s", wrong, a.Code, a.Msg, see(t, c))
		}
		empty(t, dir)
	}
}

// Settings of the node are not there in a container's namespace, or can't be written.
func TestSettingsOfTheNodeAreRefused(t *testing.T) {
	c, dir := plugintest.NewContainer(t, "c1"), t.TempDir()
	for _, key := range []string{"net.ipv4.tcp_mem", "kernel.hostname", "net.core.rmem_max"} {
		a := plugintest.Run(t, commands(), "ADD", c, plugintest.Conf{
			"dataDir": dir, "prevResult": c.Prev(), "sysctl": plugintest.Conf{key: "4096"},
		}, nil)
		if a.Code != 7 {
			t.Errorf("%s: code %d, %s", key, a.Code, a.Msg)
		}
	}
	empty(t, dir)
}

func TestTwoInOneChain(t *testing.T) {
	c, dir := plugintest.NewContainer(t, "c1"), t.TempDir()
	before := see(t, c)
	first := plugintest.Conf{"dataDir": dir, "prevResult": c.Prev(), "mtu": 1400}
	plugintest.Good(t, commands(), "ADD", c, first, nil)
	plugintest.Good(t, commands(), "ADD", c, first.With(plugintest.Conf{"mtu": 1300, "txQLen": 7}), nil)
	plugintest.Good(t, commands(), "DEL", c, first, nil)
	plugintest.Good(t, commands(), "DEL", c, first, nil)
	if got := see(t, c); got != before {
		t.Errorf("after both DELs: %s, want %s", got, before)
	}
}

func TestDelWithoutItsNamespace(t *testing.T) {
	c, dir := plugintest.NewContainer(t, "c1"), t.TempDir()
	plugintest.Good(t, commands(), "ADD", c, everything(c, dir), nil)
	plugintest.Good(t, commands(), "DEL", c, plugintest.Conf{"dataDir": dir}, map[string]string{"CNI_NETNS": ""})
	empty(t, dir)
	if got := see(t, c); got != changed {
		t.Errorf("the wrong namespace was changed: %s", got)
	}
}

// A record that a lost container left does not touch the next one of its name.
func TestRecordOfAnotherNamespace(t *testing.T) {
	old, dir := plugintest.NewContainer(t, "c1"), t.TempDir()
	plugintest.Good(t, commands(), "ADD", old, everything(old, dir), nil)
	c := plugintest.NewContainer(t, "c2")
	c.ID = "c1"
	before := see(t, c)
	plugintest.Good(t, commands(), "DEL", c, plugintest.Conf{"dataDir": dir}, nil)
	if got := see(t, c); got != before {
		t.Errorf("now %s, want %s", got, before)
	}
	empty(t, dir)
	c.ID = "c2"
}

func TestDamagedRecord(t *testing.T) {
	c, dir := plugintest.NewContainer(t, "c1"), t.TempDir()
	plugintest.Good(t, commands(), "ADD", c, everything(c, dir), nil)
	testutil.Must(t, os.Truncate(filepath.Join(dir, "net", name("c1", "eth0")), 20))
	if a := plugintest.Run(t, commands(), "ADD", c, everything(c, dir), nil); a.Code != plugin.CodeDamaged || !strings.Contains(a.Msg, "remove it") {
		t.Errorf("ADD: %+v", a)
	}
	if a := plugintest.Good(t, commands(), "DEL", c, plugintest.Conf{"dataDir": dir}, nil); !strings.Contains(a.Stderr, "damaged") {
		t.Errorf("DEL says nothing: %q", a.Stderr)
	}
	empty(t, dir)
}

func TestGC(t *testing.T) {
	dir := t.TempDir()
	kept, stale := plugintest.NewContainer(t, "kept"), plugintest.NewContainer(t, "stale")
	for _, c := range []*plugintest.Container{kept, stale} {
		plugintest.Good(t, commands(), "ADD", c, everything(c, dir), nil)
	}
	testutil.Must(t, os.WriteFile(dir+"/net/.half.tmp-1", nil, 0o600))
	conf := plugintest.Conf{"dataDir": dir, "cni.dev/valid-attachments": []any{plugintest.Conf{"containerID": "kept", "ifname": "eth0"}}}
	plugintest.Good(t, commands(), "GC", kept, conf, nil)
	if list, err := os.ReadDir(dir + "/net"); err != nil || len(list) != 1 || list[0].Name() != name("kept", "eth0") {
		t.Errorf("left %v, %v", list, err)
	}
	conf["cni.dev/valid-attachments"] = nil
	for range 2 {
		plugintest.Good(t, commands(), "GC", kept, conf, nil)
	}
	empty(t, dir)
}

func TestRestoreGoesOnWithoutTheLink(t *testing.T) {
	c, dir := plugintest.NewContainer(t, "c1"), t.TempDir()
	plugintest.Good(t, commands(), "ADD", c, everything(c, dir), nil)
	l, err := c.NS.Netlink().LinkByName("eth0")
	testutil.Must(t, err)
	testutil.Must(t, c.NS.Netlink().LinkDel(l))
	if a := plugintest.Good(t, commands(), "DEL", c, plugintest.Conf{"dataDir": dir}, nil); a.Stderr != "" {
		t.Errorf("stderr %q", a.Stderr)
	}
	testutil.Must(t, c.NS.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "x"}))
	if got := see(t, c); !strings.HasSuffix(got, "reserved ") {
		t.Errorf("now %s", got)
	}
}

func parse(t *testing.T, keys, args string) (config, error) {
	t.Helper()
	fields, err := plugin.ParseArgs(args)
	testutil.Must(t, err)
	return parseConfig(plugin.Config{Raw: []byte(`{` + keys + `}`)}, fields, "eth0")
}

func TestWhoseValueCounts(t *testing.T) {
	for _, tc := range []struct{ keys, args, mac string }{
		{`"mac":"0a:00:00:00:00:01"`, ``, "0a:00:00:00:00:01"},
		{`"mac":"0a:00:00:00:00:01"`, `MAC=0a:00:00:00:00:02`, "0a:00:00:00:00:02"},
		{`"runtimeConfig":{"mac":"0a:00:00:00:00:03"}`, `MAC=0a:00:00:00:00:02`, "0a:00:00:00:00:03"},
		{`"args":{"cni":{"mac":"0a:00:00:00:00:04"}},"runtimeConfig":{"mac":"0a:00:00:00:00:03"}`, ``, "0a:00:00:00:00:04"},
	} {
		c, err := parse(t, tc.keys, tc.args)
		if err != nil || c.Want.MAC != tc.mac {
			t.Errorf("%+v: %s, %v", tc, c.Want.MAC, err)
		}
	}
	c, err := parse(t, `"sysctl":{"net.a":"1","net.b":"2"},"promisc":true,"mtu":1,"args":{"cni":{"sysctl":{"net.b":"3","net.c":"4"},"promisc":false,"mtu":2,"txQLen":0}}`, ``)
	if got := fmt.Sprint(c.Want.Sysctls, c.Want.Promisc, c.Want.MTU, *c.Want.TxQLen); err != nil || got != "[{net.a 1} {net.b 3} {net.c 4}] <nil> 2 0" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestConfigRefusals(t *testing.T) {
	for _, keys := range []string{
		`"mac":"x"`, `"mac":"00:00:00:00:00:00"`, `"mac":"01:00:5e:00:00:01"`, `"mtu":-1`, `"txQLen":-1`, `"dataDir":"x"`, `"sysctl":{"kernel.hostname":"x"}`,
		`"sysctl":{"net.ipv4.ip_forward":"1\n2"}`, `"sysctl":{"net.a":1}`, `"sysctl":[]`, `"sysctl":{"net.a":"1","net.a":"2"}`, `"sysctl":{"net/../vm/x":"1"}`,
	} {
		if _, err := parse(t, keys, ""); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", keys, err)
		}
	}
}

func TestAllowList(t *testing.T) {
	list := sysctls{{"net.ipv4.conf.IFNAME.forwarding", "1"}, {"net.core.somaxconn", "1"}}
	for text, good := range map[string]bool{
		"":                               false,
		"^net\\.ipv4\\.conf\\.IFNAME\\.": false,
		"# all\n ^net\\.ipv4\\. \n\nsomaxconn$\n": true,
		".*": true,
		"(":  false,
	} {
		if err := allowed([]byte(text), list); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
	path := filepath.Join(t.TempDir(), "list")
	testutil.Must(t, os.WriteFile(path, make([]byte, allowListMax+1), 0o600))
	if _, err := readAllowList(path); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("an endless list: %v", err)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"mac":"0a:00:00:00:00:01","mtu":1400,"promisc":true,"sysctl":{"net.core.somaxconn":"9"},"args":{"cni":{"allmulti":false}}}`), "0a:00:00:00:00:02")
	f.Fuzz(func(t *testing.T, data []byte, mac string) {
		c, err := parseConfig(plugin.Config{Raw: data}, map[string]string{"MAC": mac}, "eth0")
		if err != nil {
			return
		}
		for i, s := range c.Want.Sysctls {
			if !strings.HasPrefix(s.Key, "net") || c.Want.Sysctls.find(s.Key) != i {
				t.Fatalf("%+v", c.Want.Sysctls)
			}
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"namespace":"b/1","before":{"mac":"0a:00:00:00:00:01","mtu":1500,"promisc":false,"sysctl":{"net.core.somaxconn":"9"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := decodeRecord(data, "eth0")
		if err == nil && rec.Before.check("eth0") != nil {
			t.Fatal("unchecked")
		}
	})
}

func FuzzAllowed(f *testing.F) {
	f.Add([]byte("^net\\.core\\.\n# x\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { _ = allowed(data, sysctls{{"net.core.somaxconn", "1"}}) })
}
