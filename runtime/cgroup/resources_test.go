package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// setting is a file's expected content.
type setting struct{ controller, file, want string }

// TestEachResource sets one resource at a time and reads back what the kernel has taken.
func TestEachResource(t *testing.T) {
	h, base := testHost(t)
	for i, c := range []struct {
		name string
		r    *specs.LinuxResources
		v1   []setting
		v2   []setting
	}{
		{
			"burst", &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: new(int64(20000)), Period: new(uint64(50000)), Burst: new(uint64(10000))}},
			[]setting{{"cpu", "cpu.cfs_quota_us", "20000"}, {"cpu", "cpu.cfs_period_us", "50000"}, {"cpu", "cpu.cfs_burst_us", "10000"}},
			[]setting{{"cpu", "cpu.max", "20000 50000"}, {"cpu", "cpu.max.burst", "10000"}},
		},
		{
			"idle", &specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: new(int64(1))}},
			[]setting{{"cpu", "cpu.idle", "1"}},
			[]setting{{"cpu", "cpu.idle", "1"}},
		},
		{
			"cpuset", &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "1", Mems: "0"}},
			[]setting{{"cpuset", "cpuset.cpus", "1"}, {"cpuset", "cpuset.mems", "0"}},
			[]setting{{"cpuset", "cpuset.cpus", "1"}, {"cpuset", "cpuset.mems", "0"}},
		},
		{
			"memory", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(64 << 20)), Reservation: new(int64(32 << 20))}},
			[]setting{{"memory", "memory.limit_in_bytes", "67108864"}, {"memory", "memory.memsw.limit_in_bytes", "67108864"}, {"memory", "memory.soft_limit_in_bytes", "33554432"}},
			[]setting{{"memory", "memory.max", "67108864"}, {"memory", "memory.low", "33554432"}},
		},
		{
			"swappiness", &specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: new(uint64(7))}},
			[]setting{{"memory", "memory.swappiness", "7"}},
			nil,
		},
		{
			"no OOM killer", &specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: new(true)}},
			[]setting{{"memory", "memory.oom_control", "oom_kill_disable 1"}},
			nil,
		},
		{
			"kernel TCP memory", &specs.LinuxResources{Memory: &specs.LinuxMemory{KernelTCP: new(int64(8 << 20))}},
			[]setting{{"memory", "memory.kmem.tcp.limit_in_bytes", "8388608"}},
			nil,
		},
		{
			"huge pages", &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 6 << 20}}},
			[]setting{{"hugetlb", "hugetlb.2MB.limit_in_bytes", "6291456"}, {"hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "6291456"}},
			[]setting{{"hugetlb", "hugetlb.2MB.max", "6291456"}, {"hugetlb", "hugetlb.2MB.rsvd.max", "6291456"}},
		},
		{
			"no new tasks", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(0))}},
			[]setting{{"pids", "pids.max", "1"}},
			[]setting{{"pids", "pids.max", "1"}},
		},
		{
			"unified", &specs.LinuxResources{Unified: map[string]string{"memory.high": "1048576", "memory.oom.group": "1"}},
			nil,
			[]setting{{"memory", "memory.high", "1048576"}, {"memory", "memory.oom.group", "1"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkSettings(t, h, fmt.Sprintf("%s/one-%d", base, i), c.r, c.v1, c.v2)
		})
	}
}

// checkSettings makes a group with r and compares. A nil list means that the version has no such resource, and must say so.
func checkSettings(t *testing.T, h *Host, path string, r *specs.LinuxResources, v1, v2 []setting) *Group {
	t.Helper()
	settings, other := v1, v2
	controller := append(append([]setting{}, v1...), v2...)[0].controller
	isV2, ok := h.isV2(controller)
	if !ok {
		testutil.Skip(t, "no %s cgroup controller here", controller)
	}
	if isV2 {
		settings, other = other, settings
	}
	g, err := h.Create(t.Context(), path, r)
	if settings == nil {
		if !errors.Is(err, errdefs.ErrNotSupported) {
			t.Fatalf("Create = %v, want ErrNotSupported", err)
		}
		return nil
	}
	must(t, err)
	for _, s := range settings {
		if got := read(t, g, s.controller, s.file); !strings.HasPrefix(got+"\n", s.want+"\n") {
			t.Errorf("%s = %q, want %q", s.file, got, s.want)
		}
	}
	return g
}

// TestRealtime: the kernel wants every group above to have as much.
func TestRealtime(t *testing.T) {
	h, base := testHost(t)
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimePeriod: new(uint64(500000)), RealtimeRuntime: new(int64(1000))}}
	if v2, ok := h.isV2("cpu"); !ok || v2 {
		if _, err := h.Create(t.Context(), base+"/rt", r); !errors.Is(err, errdefs.ErrNotSupported) || !strings.Contains(err.Error(), "linux.resources.cpu.realtime") {
			t.Errorf("Create = %v, want ErrNotSupported", err)
		}
		return
	}
	root := h.byController["cpu"].mount
	if _, err := os.Stat(filepath.Join(root, "cpu.rt_runtime_us")); err != nil {
		testutil.Skip(t, "this kernel has no realtime groups (CONFIG_RT_GROUP_SCHED)")
	}
	if _, err := h.Create(t.Context(), base+"/rt", r); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "linux.resources.cpu.realtime") {
		t.Errorf("Create below groups without realtime = %v, want ErrInvalid", err)
	}
	above := ""
	for name := range strings.SplitSeq(base[1:], "/") {
		above += "/" + name
		must(t, os.WriteFile(filepath.Join(root, above, "cpu.rt_runtime_us"), []byte("10000"), 0))
	}
	g, err := h.Create(t.Context(), base+"/rt", r)
	must(t, err)
	if got := read(t, g, "cpu", "cpu.rt_runtime_us") + " of " + read(t, g, "cpu", "cpu.rt_period_us"); got != "1000 of 500000" {
		t.Errorf("realtime %s", got)
	}
	must(t, g.Remove(t.Context()))
}

// blockDevice returns the number of a disk.
func blockDevice(t *testing.T) specs.LinuxBlockIODevice {
	t.Helper()
	names, err := filepath.Glob("/sys/block/*/device/../dev")
	must(t, err)
	more, err := filepath.Glob("/sys/block/*/dev")
	must(t, err)
	for _, name := range append(names, more...) {
		data, err := os.ReadFile(name)
		must(t, err)
		if major, minor, ok := parseDevice(strings.TrimSpace(string(data))); ok {
			return specs.LinuxBlockIODevice{Major: int64(major), Minor: int64(minor)}
		}
	}
	testutil.Skip(t, "this machine has no block device")
	return specs.LinuxBlockIODevice{}
}

func TestThrottles(t *testing.T) {
	h, base := testHost(t)
	disk := blockDevice(t)
	rate := func(n uint64) []specs.LinuxThrottleDevice {
		return []specs.LinuxThrottleDevice{{LinuxBlockIODevice: disk, Rate: n}}
	}
	g := checkSettings(t, h, base+"/throttle", &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{
		ThrottleReadBpsDevice: rate(1 << 20), ThrottleWriteBpsDevice: rate(2 << 20), ThrottleReadIOPSDevice: rate(100), ThrottleWriteIOPSDevice: rate(200),
	}}, []setting{
		{"blkio", "blkio.throttle.read_bps_device", device(disk) + " 1048576"},
		{"blkio", "blkio.throttle.write_bps_device", device(disk) + " 2097152"},
		{"blkio", "blkio.throttle.read_iops_device", device(disk) + " 100"},
		{"blkio", "blkio.throttle.write_iops_device", device(disk) + " 200"},
	}, []setting{{"io", "io.max", device(disk) + " rbps=1048576 wbps=2097152 riops=100 wiops=200"}})
	must(t, g.Update(t.Context(), &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: rate(0)}}))
	controller, file := "blkio", "blkio.throttle.read_bps_device"
	if v2, _ := h.isV2("io"); v2 {
		controller, file = "io", "io.max"
	}
	if got := read(t, g, controller, file); strings.Contains(got, "1048576") {
		t.Errorf("after the rate was lifted, %s = %q", file, got)
	}
	nowhere := specs.LinuxThrottleDevice{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 511, Minor: 9}, Rate: 5}
	before := read(t, g, controller, file)
	err := g.Update(t.Context(), &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{
		ThrottleReadBpsDevice: rate(3 << 20), ThrottleWriteBpsDevice: []specs.LinuxThrottleDevice{nowhere},
	}})
	if !errors.Is(err, errdefs.ErrInvalid) || !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), "linux.resources.blockIO.throttleWriteBpsDevice[0]") {
		t.Errorf("Update for a device that is not there = %v", err)
	}
	if got := read(t, g, controller, file); got != before {
		t.Errorf("a refused Update left %q, want %q", got, before)
	}
}

// TestWeight: which file there is depends on the schedulers that the kernel was built with.
func TestWeight(t *testing.T) {
	h, base := testHost(t)
	r := &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: new(uint16(500))}}
	g, err := h.Create(t.Context(), base+"/weight", r)
	if errors.Is(err, errdefs.ErrNotSupported) {
		testutil.Skip(t, "no weights here: %v", err)
	}
	must(t, err)
	for _, s := range []setting{
		{"blkio", "blkio.bfq.weight", "500"},
		{"blkio", "blkio.weight", "500"},
		{"io", "io.bfq.weight", "default 500"},
		{"io", "io.weight", "default 4950"},
	} {
		hi := h.byController[s.controller]
		if hi == nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(hi.mount, g.Path(), s.file)); err != nil {
			continue
		}
		if got := read(t, g, s.controller, s.file); got != s.want {
			t.Errorf("%s = %q, want %q", s.file, got, s.want)
		}
		return
	}
	t.Error("the weight went nowhere")
}
