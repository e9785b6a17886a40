package container_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/netdev"
)

// newDevice makes a veth whose first end, by the given name, is for a container.
func newDevice(t *testing.T, name string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	testutil.Must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "p"}))
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(name + "p"); err == nil { // gone with the container's end, else
			testutil.Must(t, netlink.LinkDel(l))
		}
	})
}

func TestNetDevices(t *testing.T) {
	n := newNode(t, build(t))
	onHost := func(name string) bool { _, err := netlink.LinkByName(name); return err == nil }
	t.Run("a namespace of its own", func(t *testing.T) {
		newDevice(t, "nd0")
		tr := n.newTrial(t, "ls:/sys/class/net", "cat:/sys/class/net/eth7/operstate", "loop")
		tr.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"nd0": {Name: "eth7"}}
		tr.spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
		testutil.Must(t, tr.start())
		out := tr.awaitOutput("loop")
		if !strings.Contains(out, "eth7") || !strings.Contains(out, "lo") || onHost("nd0") {
			t.Errorf("on the host: %t, in the container:\n%s", onHost("nd0"), out)
		}
		testutil.Must(t, n.Delete(bg(), tr.id, container.DeleteOptions{}))
		if onHost("nd0") || onHost("eth7") { // virtual devices go with their namespace
			t.Error("it was moved back")
		}
	})
	t.Run("a namespace that is joined", func(t *testing.T) {
		newDevice(t, "nd1")
		ns, err := netdev.NewNamespace()
		testutil.Must(t, err)
		defer ns.Close()
		tr := n.newTrial(t, "ls:/sys/class/net")
		tr.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"nd1": {}}
		tr.spec.Linux.Namespaces[4].Path = "/proc/self/fd/" + fdName(ns)
		if out := tr.run(); !strings.Contains(out, "nd1") {
			t.Errorf("in the container:\n%s", out)
		}
	})
	t.Run("a user namespace of its own", func(t *testing.T) {
		newDevice(t, "nd4")
		tr := n.newTrial(t, "ls:/sys/class/net", "cat:/proc/sys/net/ipv4/ip_default_ttl", "loop")
		tr.mapUsers()
		tr.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"nd4": {Name: "eth7"}}
		tr.spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_default_ttl": "99"}
		testutil.Must(t, tr.start())
		out := tr.awaitOutput("loop")
		if !strings.Contains(out, "eth7") || !strings.Contains(out, "\n99\n") || onHost("nd4") {
			t.Errorf("on the host: %t, in the container:\n%s", onHost("nd4"), out)
		}
		pid, err := n.PID(tr.id)
		testutil.Must(t, err)
		belongs(t, pid, "net")
		testutil.Must(t, n.Delete(bg(), tr.id, container.DeleteOptions{}))
	})
	t.Run("the host's namespace", func(t *testing.T) {
		newDevice(t, "nd2")
		tr := n.newTrial(t)
		tr.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"nd2": {}}
		tr.spec.Linux.Namespaces[4].Path = "/proc/self/ns/net"
		if err := tr.create(); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "linux.netDevices: ") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a create that fails later", func(t *testing.T) {
		newDevice(t, "nd3")
		tr := n.newTrial(t)
		tr.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"nd3": {Name: "eth0"}}
		tr.spec.Mounts = append(tr.spec.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/no/such/source"})
		if err := tr.create(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
		if !onHost("nd3") {
			t.Error("it was not given back")
		}
	})
	t.Run("no such device", func(t *testing.T) {
		tr := n.newTrial(t)
		tr.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"nd9": {}}
		if err := tr.create(); !errors.Is(err, errdefs.ErrNotFound) || !strings.Contains(err.Error(), "linux.netDevices: move network device nd9") {
			t.Errorf("error %v", err)
		}
	})
}
