package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
)

// TestNetworkControllers mounts v1's net_cls and net_prio, which no distribution does by itself, in this test's own mount
// namespace.
func TestNetworkControllers(t *testing.T) {
	_, base := testHost(t)
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "cgroup", 0, "net_cls,net_prio"); err != nil {
		testutil.Skip(t, "mount net_cls and net_prio: %v", err)
	}
	h, err := newHost([]mountPoint{{path: dir, options: []string{"net_cls", "net_prio"}}}, false)
	must(t, err)
	t.Cleanup(func() { must(t, h.Close()); must(t, syscall.Unmount(dir, 0)) })
	priority := func(n uint32) []specs.LinuxInterfacePriority {
		return []specs.LinuxInterfacePriority{{Name: "lo", Priority: n}}
	}
	g, err := h.Create(t.Context(), base+"/net", &specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: new(uint32(0x100001)), Priorities: priority(7)}})
	must(t, err)
	if got := read(t, g, "net_cls", "net_cls.classid"); got != "1048577" {
		t.Errorf("net_cls.classid = %s", got)
	}
	nowhere := specs.LinuxInterfacePriority{Name: "nosuch0", Priority: 1}
	bad := &specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: new(uint32(5)), Priorities: append(priority(9), nowhere)}}
	if err := g.Update(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "linux.resources.network.priorities[1]") {
		t.Errorf("Update for an interface that is not there = %v", err)
	}
	if got := read(t, g, "net_prio", "net_prio.ifpriomap"); !strings.Contains(got, "lo 7") {
		t.Errorf("net_prio.ifpriomap = %q", got)
	}
	if got := read(t, g, "net_cls", "net_cls.classid"); got != "1048577" {
		t.Errorf("after a refused Update net_cls.classid = %s", got)
	}
	top, err := h.Open(testutil.CgroupRoot())
	must(t, err)
	must(t, top.Remove(t.Context()))
}

// TestRDMAFiles needs no hardware: neither this repository's build machines nor the virtual machine has an RDMA device, so
// the control files are ordinary ones.
func TestRDMAFiles(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "g"), 0o755))
	for file, content := range map[string]string{
		"rdma.max": "mlx hca_handle=9 hca_object=max\n", "rdma.current": "mlx hca_handle=1 hca_object=2\n",
	} {
		must(t, os.WriteFile(filepath.Join(dir, "g", file), []byte(content), 0o644))
	}
	h, err := newHost([]mountPoint{{path: dir, options: []string{"rdma"}}}, false)
	must(t, err)
	defer func() { must(t, h.Close()) }()
	g, err := h.Open("/g")
	must(t, err)
	d, err := g.open(h.byController["rdma"])
	must(t, err)
	defer func() { must(t, d.Close()) }()
	var details Details
	must(t, details.readRDMA(d, false))
	if got := details.RDMA["mlx"]; got["hca_handle"] != (RDMAUse{1, 9}) || got["hca_object"] != (RDMAUse{2, 0}) {
		t.Errorf("RDMA = %+v", details.RDMA)
	}
	must(t, g.Update(t.Context(), &specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"mlx": {HcaHandles: new(uint32(3)), HcaObjects: new(uint32(4))}}}))
	data, err := os.ReadFile(filepath.Join(dir, "g/rdma.max"))
	must(t, err)
	if !strings.HasPrefix(string(data), "mlx hca_handle=3 hca_object=4") {
		t.Errorf("rdma.max = %q", data)
	}
}
