package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/systemd"
	"github.com/berth-runtime/berth/test/fakesystemd"
)

// scopeHost returns this machine's hierarchies as seen from the test's own group, with a fake systemd that makes groups in
// them as the real one does.
func scopeHost(t *testing.T) (*Host, *fakesystemd.Server) {
	t.Helper()
	h, base := testHost(t)
	var mounts []mountPoint
	for _, hi := range h.hierarchies {
		m := mountPoint{path: filepath.Join(hi.mount, base), v2: hi.v2, options: hi.controllers}
		mounts = append(mounts, m)
	}
	inner, err := newHost(mounts, false)
	must(t, err)
	t.Cleanup(func() { must(t, inner.Close()) })
	s := fakesystemd.Start(t)
	s.OnStart = func(name string, props map[string]any) error {
		g, err := inner.Ensure(context.Background(), pathOf(name, props))
		pids, _ := props["PIDs"].([]uint32)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, hi := range inner.hierarchies {
			file := filepath.Join(hi.mount, g.path, "cgroup.procs")
			if err := os.WriteFile(file, []byte(strconv.Itoa(int(pids[0]))), 0); err != nil {
				return err
			}
		}
		return nil
	}
	s.OnStop = func(name string) {
		g, err := inner.Open(pathOf(name, s.Unit(name)))
		if err == nil {
			err = errors.Join(g.Kill(context.Background()), g.Remove(context.Background()))
		}
		if err != nil && !errors.Is(err, errdefs.ErrNotFound) {
			t.Error(err)
		}
	}
	return inner.UseSystemd(systemd.At(s.Socket)), s
}

func pathOf(unit string, props map[string]any) string {
	if at, err := systemd.ExpandSlice(unit); err == nil {
		return at
	}
	slice, _ := props["Slice"].(string)
	return systemd.Unit{Slice: slice, Name: unit}.Path()
}

// TestSlice makes a pod's group with a container's in it.
func TestSlice(t *testing.T) {
	h, s := scopeHost(t)
	requireControllers(t, h, "memory")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	pod, err := h.Create(ctx, "/a.slice/a-pod.slice", memoryLimit(128<<20))
	must(t, err)
	ctr, err := h.Create(ctx, "/a.slice/a-pod.slice/berth-1.scope", memoryLimit(64<<20))
	must(t, err)
	_ = start(t, ctr, "sleep 1000; true")
	must(t, ctr.Vacate())
	must(t, pod.Update(ctx, memoryLimit(96<<20)))
	if s.Unit("a-pod.slice") == nil || s.Unit("berth-1.scope")["Slice"] != "a-pod.slice" {
		t.Errorf("units: %v, %v", s.Unit("a-pod.slice"), s.Unit("berth-1.scope"))
	}
	if _, err := h.Create(ctx, "/a.slice/a-pod.slice", nil); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("a second Create = %v, want ErrExists", err)
	}
	must(t, ctr.Kill(ctx))
	must(t, ctr.Remove(ctx))
	must(t, pod.Remove(ctx))
	if s.Unit("a-pod.slice") != nil || s.Unit("berth-1.scope") != nil {
		t.Error("a unit is left")
	}
}

func TestScope(t *testing.T) {
	h, s := scopeHost(t)
	requireControllers(t, h, "memory", "cpu", "pids")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r := memoryLimit(64 << 20)
	r.CPU = &specs.LinuxCPU{Quota: new(int64(20000)), Period: new(uint64(50000))}
	r.Pids = &specs.LinuxPids{Limit: new(int64(9))}
	const path, unit = "a-b.slice:berth:1", "berth-1.scope"
	g, err := h.Create(ctx, path, r)
	must(t, err)
	if want := "/a.slice/a-b.slice/berth-1.scope"; g.Path() != want {
		t.Errorf("the group is %s, want %s", g.Path(), want)
	}
	memory := "MemoryMax"
	if v2, _ := h.isV2("memory"); !v2 {
		memory = "MemoryLimit"
	}
	for name, want := range map[string]uint64{memory: 64 << 20, "TasksMax": 9, "CPUQuotaPerSecUSec": 400000, "CPUQuotaPeriodUSec": 50000} {
		if got := s.Unit(unit)[name]; got != want {
			t.Errorf("%s = %v, want %d", name, got, want)
		}
	}
	if _, err := h.Create(ctx, path, r); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("a second Create = %v, want ErrExists", err)
	}
	cmd := start(t, g, "sleep 1000; true")
	must(t, g.Vacate())
	must(t, g.Vacate())
	if pids, err := g.PIDs(); err != nil || len(pids) == 0 || pids[0] != cmd.Process.Pid {
		t.Errorf("in the group: %v, %v", pids, err)
	}
	again, err := h.Open(path) // as after a restart
	must(t, err)
	must(t, again.Update(ctx, memoryLimit(32<<20)))
	if got := s.Unit(unit)[memory]; got != uint64(32<<20) {
		t.Errorf("after the update %s = %v", memory, got)
	}
	bad := memoryLimit(48 << 20)
	bad.Pids = &specs.LinuxPids{Limit: new(int64(1 << 60))}
	if err := again.Update(ctx, bad); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("a bad update = %v", err)
	}
	if got := s.Unit(unit)[memory]; got != uint64(32<<20) {
		t.Errorf("after a refused update %s = %v", memory, got)
	}
	must(t, again.Kill(ctx))
	must(t, again.Remove(ctx))
	if s.Unit(unit) != nil {
		t.Error("the unit is left")
	}
	if _, err := h.Open(path); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Open after Remove = %v", err)
	}
}

// TestScopeThatIsRefused leaves neither a unit nor a group nor a placeholder (which the leak check would see).
func TestScopeThatIsRefused(t *testing.T) {
	h, s := scopeHost(t)
	requireControllers(t, h, "pids")
	const path = "a.slice:berth:2"
	bad := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(1 << 60))}}
	if _, err := h.Create(t.Context(), path, bad); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("Create = %v, want ErrInvalid", err)
	}
	if s.Unit("berth-2.scope") != nil {
		t.Error("the unit is left")
	}
	s.Result = "failed"
	if _, err := h.Create(t.Context(), path, nil); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("Create = %v, want ErrFailedPrecondition", err)
	}
	plain := *h
	plain.units = nil
	if _, err := plain.Create(t.Context(), path, nil); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("Create without systemd = %v, want ErrInvalid", err)
	}
}

func TestProperties(t *testing.T) {
	for _, c := range []struct {
		name string
		w    []write
		want []systemd.Property
	}{
		{"weight", []write{{file: "cpu.weight", value: "77"}}, []systemd.Property{{Name: "CPUWeight", Value: uint64(77), Since: 232}}},
		{"idle", []write{{file: "cpu.idle", value: "1"}}, []systemd.Property{{Name: "CPUWeight", Value: uint64(0), Since: 252}}},
		{"no quota", []write{{file: "cpu.max", value: "max 50000"}}, []systemd.Property{{Name: "CPUQuotaPeriodUSec", Value: uint64(50000), Since: 242}, {Name: "CPUQuotaPerSecUSec", Value: uint64(noLimit)}}},
		{"v1 quota", []write{{file: "cpu.cfs_quota_us", value: "20000"}}, []systemd.Property{{Name: "CPUQuotaPerSecUSec", Value: uint64(200000)}}},
		{"v1, no limit", []write{{file: "memory.limit_in_bytes", value: "-1"}}, []systemd.Property{{Name: "MemoryLimit", Value: uint64(noLimit)}}},
		{"cpuset", []write{{file: "cpuset.cpus", value: "0,9"}}, []systemd.Property{{Name: "AllowedCPUs", Value: []byte{1, 2}, Since: 244}}},
		{"IO weight", []write{{file: "io.weight", value: "default 200"}, {file: "io.weight", value: "8:0 5"}}, []systemd.Property{{Name: "IOWeight", Value: uint64(200), Since: 230}}},
		{"not systemd's", []write{{file: "hugetlb.2MB.max", value: "5"}}, nil},
	} {
		if diff := cmp.Diff(c.want, properties(c.w)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	rules, err := planDevices([]specs.LinuxDeviceCgroup{{Access: "rwm"}})
	must(t, err)
	list, err := rules.fold()
	must(t, err)
	got := (&deviceGuard{list: list}).properties()
	nodes, _ := got[1].Value.([]deviceNode)
	if got[0].Value != "strict" || !slices.Contains(nodes, deviceNode{"char-136", "rwm"}) || !slices.Contains(nodes, deviceNode{"/dev/char/1:3", "rwm"}) {
		t.Errorf("device properties %+v", got)
	}
}
