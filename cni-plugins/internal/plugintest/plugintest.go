// Package plugintest runs a plugin's commands in a test: on the kernel, with a container's namespace next to the test's own, without a
// program of their own. What is judged from outside is the business of test/cni-conformance.
package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// Container is a network namespace. Its eth0 and the host's link of the container's name are the ends of a veth pair.
type Container struct {
	ID, Netns string
	NS        *netns.Handle
}

// HostLink is the name of the host's end.
func (c *Container) HostLink() string { return "h-" + c.ID }

// NewContainer makes a container; it goes with the test.
func NewContainer(t *testing.T, id string) *Container {
	t.Helper()
	testutil.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "ns")
	pins, err := netns.Create(t.Context(), netns.Config{Dir: dir, Net: true})
	testutil.Must(t, err)
	c := &Container{ID: id, Netns: pins.Net}
	c.NS, err = netns.Open(pins.Net)
	testutil.Must(t, err)
	host, err := netns.Current()
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, host.Close()) })
	testutil.Must(t, host.Netlink().LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: c.HostLink(), TxQLen: -1}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(c.NS.File().Fd())),
	}))
	t.Cleanup(func() {
		testutil.Must(t, c.NS.Close())
		if l, err := host.Netlink().LinkByName(c.HostLink()); err == nil {
			testutil.Must(t, host.Netlink().LinkDel(l))
		}
		testutil.Must(t, netns.Remove(context.Background(), dir))
	})
	return c
}

// Conf is a configuration, as JSON.
type Conf map[string]any

// With returns a copy with some keys changed.
func (c Conf) With(changes Conf) Conf {
	merged := maps.Clone(c)
	maps.Copy(merged, changes)
	return merged
}

// Prev is a result that a plugin before could have had for the container.
func (c *Container) Prev() Conf {
	return Conf{
		"cniVersion": "1.1.0",
		"interfaces": []any{Conf{"name": c.HostLink()}, Conf{"name": "eth0", "sandbox": c.Netns, "mtu": 1500}},
		"ips":        []any{Conf{"address": "10.9.0.2/24", "gateway": "10.9.0.1", "interface": 1}},
		"routes":     []any{Conf{"dst": "10.0.0.0/8", "gw": "10.9.0.3", "mtu": 1300, "advmss": 1200, "priority": 7, "table": 5, "scope": 0}},
	}
}

// Answer is what a plugin printed.
type Answer struct {
	Status int
	Code   uint
	Msg    string
	Result Conf
	Stderr string
}

// Run runs one command. vars are further variables, such as CNI_ARGS; an empty value takes one away.
func Run(t *testing.T, commands plugin.Commands, verb string, c *Container, conf Conf, vars map[string]string) Answer {
	t.Helper()
	env := map[string]string{
		"CNI_COMMAND": verb, "CNI_CONTAINERID": c.ID, "CNI_NETNS": c.Netns, "CNI_IFNAME": "eth0", "CNI_PATH": "/nowhere",
	}
	maps.Copy(env, vars)
	stdin, err := json.Marshal(Conf{"cniVersion": "1.1.0", "name": "net", "type": commands.Name}.With(conf))
	testutil.Must(t, err)
	var stdout, stderr bytes.Buffer
	a := Answer{Status: plugin.Run(commands, environ(env), bytes.NewReader(stdin), &stdout, &stderr)}
	a.Stderr = stderr.String()
	if stdout.Len() > 0 {
		testutil.Must(t, json.Unmarshal(stdout.Bytes(), &a.Result))
	}
	if a.Status != 0 {
		code, _ := a.Result["code"].(float64)
		a.Code = uint(code)
		a.Msg, _ = a.Result["msg"].(string)
	}
	return a
}

func environ(vars map[string]string) []string {
	var list []string
	for name, value := range vars {
		list = append(list, name+"="+value)
	}
	return list
}

// Good is Run for a command that must succeed.
func Good(t *testing.T, commands plugin.Commands, verb string, c *Container, conf Conf, vars map[string]string) Answer {
	t.Helper()
	a := Run(t, commands, verb, c, conf, vars)
	if a.Status != 0 {
		t.Fatalf("%s: code %d, %s", verb, a.Code, a.Msg)
	}
	return a
}
