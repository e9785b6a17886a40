package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugintest"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// world is the host's side of a container.
type world struct {
	h    *netlink.Handle
	c    *plugintest.Container
	conf plugintest.Conf
}

func newWorld(t *testing.T) world {
	t.Helper()
	c := plugintest.NewContainer(t, "c1")
	host, err := netns.Current()
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, host.Close()) })
	needKernel(t, host.Netlink())
	return world{h: host.Netlink(), c: c, conf: plugintest.Conf{
		"prevResult": c.Prev(), "ingressRate": 8_000_000, "ingressBurst": 80_000, "egressRate": 16_000_000, "egressBurst": 160_000,
	}}
}

// needKernel skips on kernels without what the plugin is made of.
func needKernel(t *testing.T, h *netlink.Handle) {
	t.Helper()
	l, err := link.AddIfb(h, "probe", 1500)
	if errors.Is(err, errdefs.ErrNotSupported) {
		testutil.Skip(t, "this kernel has no ifb links")
	}
	testutil.Must(t, err)
	err = link.SetLimit(h, l, link.Limit{Rate: 8000, Burst: 8000})
	testutil.Must(t, link.Remove(h, "probe"))
	if errors.Is(err, syscall.ENOENT) {
		testutil.Skip(t, "this kernel has no token bucket (sch_tbf)")
	}
	testutil.Must(t, err)
}

// made lists what is on the host's end, and the ifb links.
func (w world) made(t *testing.T) string {
	t.Helper()
	l, err := w.h.LinkByName(w.c.HostLink())
	testutil.Must(t, err)
	list, err := w.h.QdiscList(l)
	testutil.Must(t, err)
	var found []string
	for _, q := range list {
		if q.Attrs().Handle != 0 {
			found = append(found, q.Type())
		}
	}
	links, err := w.h.LinkList()
	testutil.Must(t, err)
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, "bwp") {
			found = append(found, "ifb")
		}
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

func TestLife(t *testing.T) {
	w := newWorld(t)
	for name, subnets := range map[string]plugintest.Conf{
		"all":    {},
		"except": {"unshapedSubnets": []string{"10.0.0.0/8", "fd00::/7", "0.0.0.0/0"}},
		"only":   {"shapedSubnets": []string{"10.0.0.0/9", "fd00::/8", "2001:db8:1:2:3::/80", "::/0"}},
	} {
		conf := w.conf.With(subnets)
		want := "ifb ingress tbf"
		if name != "all" {
			want = "bfifo htb ifb ingress"
		}
		for range 2 { // again, as after an ADD that was killed
			added := plugintest.Good(t, commands(), "ADD", w.c, conf, nil)
			if got := w.made(t); got != want {
				t.Fatalf("%s: after ADD: %s", name, got)
			}
			if text := fmt.Sprint(added.Result); !strings.Contains(text, link.IfbName("net", "c1", "eth0")) || !strings.Contains(text, "advmss:1200") {
				t.Errorf("result %s", text)
			}
			plugintest.Good(t, commands(), "CHECK", w.c, conf, nil)
		}
		for range 2 {
			plugintest.Good(t, commands(), "DEL", w.c, conf, nil)
			if got := w.made(t); got != "" {
				t.Errorf("%s: after DEL: %s", name, got)
			}
		}
		if a := plugintest.Run(t, commands(), "CHECK", w.c, conf, nil); a.Code != plugin.CodeMismatch {
			t.Errorf("%s: CHECK after DEL: %+v", name, a)
		}
	}
}

func TestFailedAddUndoesAll(t *testing.T) {
	w := newWorld(t)
	// A link of another kind in the way of the ingress queue makes the last step fail.
	l, err := w.h.LinkByName(w.c.HostLink())
	testutil.Must(t, err)
	clsact := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	testutil.Must(t, w.h.QdiscAdd(clsact))
	if a := plugintest.Run(t, commands(), "ADD", w.c, w.conf, nil); a.Status == 0 {
		t.Error("ADD succeeded")
	}
	if got := w.made(t); got != "clsact" {
		t.Errorf("left: %s", got)
	}
}

func TestDelWithoutANamespace(t *testing.T) {
	w := newWorld(t)
	plugintest.Good(t, commands(), "ADD", w.c, w.conf, nil)
	plugintest.Good(t, commands(), "DEL", w.c, plugintest.Conf{}, map[string]string{"CNI_NETNS": ""})
	if got := w.made(t); strings.Contains(got, "ifb") {
		t.Errorf("left: %s", got)
	}
}

func TestGC(t *testing.T) {
	w := newWorld(t)
	plugintest.Good(t, commands(), "ADD", w.c, w.conf, nil)
	other := w.conf.With(plugintest.Conf{"name": "net2", "cni.dev/valid-attachments": nil})
	plugintest.Good(t, commands(), "GC", w.c, other, nil)
	keep := w.conf.With(plugintest.Conf{"cni.dev/valid-attachments": []any{plugintest.Conf{"containerID": "c1", "ifname": "eth0"}}})
	plugintest.Good(t, commands(), "GC", w.c, keep, nil)
	plugintest.Good(t, commands(), "CHECK", w.c, w.conf, nil)
	plugintest.Good(t, commands(), "GC", w.c, w.conf.With(plugintest.Conf{"cni.dev/valid-attachments": nil}), nil)
	if got := w.made(t); strings.Contains(got, "ifb") {
		t.Errorf("left: %s", got)
	}
}

func TestOnlyVethPairs(t *testing.T) {
	w := newWorld(t)
	h := w.c.NS.Netlink()
	testutil.Must(t, h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "net1"}}))
	testutil.Must(t, h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "in1"}, PeerName: "in2"}))
	for name, want := range map[string]string{"net1": "is a bridge", "in1": "not in the host's", "no1": "put bandwidth after"} {
		a := plugintest.Run(t, commands(), "ADD", w.c, w.conf, map[string]string{"CNI_IFNAME": name})
		if a.Code != 7 || !strings.Contains(a.Msg, want) {
			t.Errorf("%s: %d %s", name, a.Code, a.Msg)
		}
	}
	if got := w.made(t); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestConfig(t *testing.T) {
	for keys, want := range map[string]string{
		``:                                      "{0 0} {0 0} [] []",
		`"ingressRate":8000,"ingressBurst":800`: "{8000 800} {0 0} [] []",
		`"runtimeConfig":{"bandwidth":{"egressRate":8000,"egressBurst":800,"unshapedSubnets":["10.1.2.3/8"]}}`:     "{0 0} {8000 800} [] [10.0.0.0/8]",
		`"egressRate":9000,"egressBurst":900,"runtimeConfig":{"bandwidth":{"ingressRate":8000,"ingressBurst":80}}`: "{0 0} {9000 900} [] []",
		`"runtimeConfig":{"bandwidth":null}`: "{0 0} {0 0} [] []",
	} {
		c, err := parseConfig([]byte(`{` + keys + `}`))
		if got := fmt.Sprint(c.Ingress.Limit, c.Egress.Limit, c.Egress.Only, c.Egress.Except); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", keys, got, err, want)
		}
	}
	for _, keys := range []string{
		`"ingressRate":8000`, `"egressBurst":8000`, `"ingressRate":-1`, `"ingressRate":1,"ingressBurst":9`, `"ingressRate":8,"ingressBurst":99999999999999`,
		`"shapedSubnets":["x"]`, `"unshapedSubnets":["::ffff:1.2.3.4/100"]`, `"shapedSubnets":["10.0.0.0/8"],"unshapedSubnets":["11.0.0.0/8"]`,
		`"shapedSubnets":["10.0.0.0/8"` + strings.Repeat(`,"10.0.0.0/8"`, subnetsMax) + `]`,
	} {
		if _, err := parseConfig([]byte(`{` + keys + `}`)); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%.100s: %v", keys, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"ingressRate":8000,"ingressBurst":800,"shapedSubnets":["10.0.0.0/8","fd00::/8"]}`))
	f.Add([]byte(`{"runtimeConfig":{"bandwidth":{"egressRate":8000,"egressBurst":800,"unshapedSubnets":[]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig(data)
		if err != nil {
			return
		}
		if len(c.Egress.Only) > 0 && len(c.Egress.Except) > 0 || (c.Ingress.Rate == 0) != (c.Ingress.Burst == 0) {
			t.Fatalf("%+v", c)
		}
	})
}
