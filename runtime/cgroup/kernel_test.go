package cgroup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// TestUpdateIsAllOrNothing: a refused value sets back what was changed before it.
func TestUpdateIsAllOrNothing(t *testing.T) {
	h, base := testHost(t)
	requireControllers(t, h, "cpu", "memory", "pids")
	g, err := h.Create(t.Context(), base+"/ctr", &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: new(uint64(512)), Quota: new(int64(20000)), Period: new(uint64(100000))},
		Memory: &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(64 << 20))},
		Pids:   &specs.LinuxPids{Limit: new(int64(10))},
	})
	must(t, err)
	must(t, g.Update(t.Context(), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(128 << 20)), Swap: new(int64(128 << 20))}}))
	before := limitsOf(t, g)
	bad := &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: new(uint64(1000)), Quota: new(int64(30000))},
		Memory: &specs.LinuxMemory{Limit: new(int64(256 << 20)), Swap: new(int64(256 << 20))},
		Pids:   &specs.LinuxPids{Limit: new(int64(1 << 60))},
	}
	if err := g.Update(t.Context(), bad); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "pids.max") {
		t.Errorf("Update = %v, want ErrInvalid about pids.max", err)
	}
	if after := limitsOf(t, g); after != before {
		t.Errorf("a refused Update left\n%swant\n%s", after, before)
	}
	bad.Pids = nil
	must(t, g.Update(t.Context(), bad))
	if after := limitsOf(t, g); after == before {
		t.Error("Update changed nothing")
	}
	check := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(4096)), Swap: new(int64(4096)), CheckBeforeUpdate: new(true)}}
	_ = start(t, g, "sleep 1000; true")
	if err := g.Update(t.Context(), check); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("Update below the present use = %v", err)
	}
	must(t, g.Kill(t.Context()))
	must(t, g.Remove(t.Context()))
	if err := g.Update(t.Context(), bad); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Update of a removed group = %v", err)
	}
}

// limitsOf spells the limits that the tests change.
func limitsOf(t *testing.T, g *Group) string {
	t.Helper()
	files := map[string][]string{
		"cpu":    {"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.weight", "cpu.max"},
		"memory": {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max"},
		"pids":   {"pids.max"},
	}
	var b strings.Builder
	for _, controller := range []string{"cpu", "memory", "pids"} {
		for _, file := range files[controller] {
			hi := g.host.byController[controller]
			data, err := os.ReadFile(filepath.Join(hi.mount, g.below(hi), file))
			if err == nil {
				b.WriteString(file + " " + string(data))
			}
		}
	}
	return b.String()
}

func requireControllers(t *testing.T, h *Host, names ...string) {
	t.Helper()
	for _, name := range names {
		if !h.Has(name) {
			testutil.Skip(t, "no %s cgroup controller here", name)
		}
	}
}

// TestCreateFailsWhole: what the kernel refuses, or the host lacks, leaves no group in any hierarchy.
func TestCreateFailsWhole(t *testing.T) {
	h, base := testHost(t)
	for name, r := range map[string]*specs.LinuxResources{
		"refused":     {Pids: &specs.LinuxPids{Limit: new(int64(1 << 60))}},
		"no such CPU": {CPU: &specs.LinuxCPU{Cpus: "4000"}},
		"bad rule":    {Devices: []specs.LinuxDeviceCgroup{{Type: "x"}}},
		"unified":     {Unified: map[string]string{"nosuch.file": "1"}},
	} {
		if _, err := h.Create(t.Context(), base+"/a/b/c", r); err == nil {
			t.Errorf("%s: Create succeeded", name)
		}
		for _, hi := range h.hierarchies {
			if _, err := os.Stat(filepath.Join(hi.mount, base, "a")); err == nil {
				t.Errorf("%s: left a group in %s", name, hi.mount)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Create(ctx, base+"/a/b", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Create when cancelled = %v", err)
	}
}

// TestCreateBesideFailures makes many groups at once below a parent that is not there, while others fail and take away
// what they made of it.
func TestCreateBesideFailures(t *testing.T) {
	h, base := testHost(t)
	requireControllers(t, h, "pids")
	bad := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(1 << 60))}}
	for range 20 {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if _, err := h.Create(t.Context(), base+"/new/pod/good"+strconv.Itoa(i), nil); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if _, err := h.Create(t.Context(), base+"/new/pod/bad"+strconv.Itoa(i), bad); !errors.Is(err, errdefs.ErrInvalid) {
					t.Errorf("Create with a refused limit = %v", err)
				}
			})
		}
		wg.Wait()
		g, err := h.Open(base + "/new")
		must(t, err)
		for _, hi := range h.hierarchies {
			names, err := filepath.Glob(filepath.Join(hi.mount, base, "new/pod/*/"))
			must(t, err)
			names = slices.DeleteFunc(names, func(n string) bool { i, err := os.Stat(n); return err != nil || !i.IsDir() })
			if len(names) != 8 {
				t.Errorf("in %s: %v", hi.mount, names)
			}
		}
		must(t, g.Remove(t.Context()))
	}
}

// TestDevices opens devices from inside of a group. With both v1 and cgroup2 mounted, both ways are tried.
func TestDevices(t *testing.T) {
	h, base := testHost(t)
	run := func(t *testing.T, h *Host) {
		rules := []specs.LinuxDeviceCgroup{
			{Access: "rwm"},
			{Allow: true, Type: "c", Major: new(int64(1)), Minor: new(int64(11)), Access: "r"}, // kmsg
			{Allow: true, Type: "c", Major: new(int64(10)), Minor: new(int64(200)), Access: "rw"},
		}
		path := base + "/devices-" + string(h.mode)
		g, err := h.Create(t.Context(), path, &specs.LinuxResources{Devices: rules})
		must(t, err)
		node := filepath.Join(t.TempDir(), "node")
		script := strings.Join([]string{
			"try() { if eval \"$2\" 2>/dev/null; then echo $1 yes; else echo $1 no; fi; }",
			"try null 'exec 3<>/dev/null'",
			"try random 'exec 3</dev/urandom'",
			"try kmsg-read 'exec 3</dev/kmsg'",
			"try kmsg-write '(exec 3>/dev/kmsg)'",
			"try kmsg-both '(exec 3<>/dev/kmsg)'",
			"try loop '(exec 3</dev/loop-control)'",
			"try mknod 'mknod " + node + " b 8 0'",
			"try disk '(exec 3<" + node + ")'",
		}, "\n")
		out := output(t, g, script)
		want := "null yes\nrandom yes\nkmsg-read yes\nkmsg-write no\nkmsg-both no\nloop no\nmknod yes\ndisk no\n"
		if out != want {
			t.Errorf("inside of the group:\n%swant\n%s", out, want)
		}
		all, err := h.Create(t.Context(), path+"-all", &specs.LinuxResources{Devices: append(rules, specs.LinuxDeviceCgroup{Allow: true, Access: "rwm"}, specs.LinuxDeviceCgroup{Type: "c", Major: new(int64(10)), Minor: new(int64(237)), Access: "w"})})
		must(t, err)
		out = output(t, all, "try() { if eval \"$2\" 2>/dev/null; then echo $1 yes; else echo $1 no; fi; }\ntry kmsg '(exec 3<>/dev/kmsg)'\ntry loop-read '(exec 3</dev/loop-control)'\ntry loop-both '(exec 3<>/dev/loop-control)'")
		if want := "kmsg yes\nloop-read yes\nloop-both no\n"; out != want {
			t.Errorf("inside of the group that allows all but one:\n%swant\n%s", out, want)
		}
	}
	for _, m := range modes(t, h) {
		t.Run(string(m.mode), func(t *testing.T) {
			if m.devicesOn() == nil {
				testutil.Skip(t, "nothing guards devices here")
			}
			run(t, m)
		})
	}
}

// modes returns the host as it is, and as it were if only its v1 hierarchies, or only its cgroup2 one, were mounted.
func modes(t *testing.T, h *Host) []*Host {
	t.Helper()
	list := []*Host{h}
	if h.mode != Hybrid {
		return list
	}
	f, err := os.Open("/proc/self/mountinfo")
	must(t, err)
	mounts, err := parseMountinfo(f)
	must(t, errors.Join(err, f.Close()))
	for _, v2 := range []bool{false, true} {
		part, err := newHost(slices.DeleteFunc(slices.Clone(mounts), func(m mountPoint) bool { return m.v2 != v2 }), false)
		must(t, err)
		t.Cleanup(func() { must(t, part.Close()) })
		list = append(list, part)
	}
	return list
}

// output runs a script in the group to its end.
func output(t *testing.T, g *Group, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out")
	cmd := start(t, g, "exec >"+path+" 2>&1\n"+script+"\nexit 0")
	must(t, cmd.Wait())
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// TestLifeInEachMode runs a group's life on the host as it is and on its halves.
func TestLifeInEachMode(t *testing.T) {
	h, base := testHost(t)
	for _, m := range modes(t, h) {
		t.Run(string(m.mode), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			g, err := m.Create(ctx, base+"/life/"+string(m.mode)+"/ctr", nil)
			must(t, err)
			if _, err := m.Create(ctx, g.Path(), nil); !errors.Is(err, errdefs.ErrExists) {
				t.Errorf("second Create = %v", err)
			}
			cmd := start(t, g, "while :; do sleep 1000 & wait; done")
			stranger := exec.Command("sleep", "1000")
			must(t, stranger.Start())
			defer func() { must(t, stranger.Process.Kill()); _ = stranger.Wait() }()
			freezeAndThaw(t, ctx, g, cmd.Process.Pid)
			short, cancelShort := context.WithTimeout(ctx, 50*time.Millisecond)
			if err := g.Remove(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Remove of a busy group = %v", err)
			}
			cancelShort()
			for _, hi := range m.hierarchies { // a child group, as a container may make
				must(t, os.Mkdir(filepath.Join(hi.mount, g.Path(), "own"), 0o755))
			}
			must(t, g.Kill(ctx))
			must(t, g.Remove(ctx))
			must(t, g.Kill(ctx))
			must(t, g.Thaw())
			if err := cmd.Wait(); err == nil {
				t.Error("the killed shell ended well")
			}
			if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("a process outside of the group: %v", err)
			}
			if _, err := g.Stats(); len(m.byController) > 0 && !errors.Is(err, errdefs.ErrNotFound) {
				t.Errorf("Stats of a removed group = %v", err)
			}
		})
	}
}

func freezeAndThaw(t *testing.T, ctx context.Context, g *Group, pid int) {
	t.Helper()
	err := g.Freeze(ctx)
	if errors.Is(err, errdefs.ErrNotSupported) {
		t.Logf("can't freeze: %v", err)
		return
	}
	must(t, err)
	before := cpuTime(t, pid)
	if state := processState(t, pid); state != "D" && state != "S" {
		t.Errorf("a frozen process is in state %s", state)
	}
	if after := cpuTime(t, pid); after != before {
		t.Errorf("a frozen process ran: %s, then %s", before, after)
	}
	must(t, g.Thaw())
	must(t, g.Thaw())
}

func processState(t *testing.T, pid int) string {
	t.Helper()
	return procStat(t, pid)[0]
}

func cpuTime(t *testing.T, pid int) string {
	t.Helper()
	f := procStat(t, pid)
	return f[11] + "+" + f[12]
}

// procStat returns the fields of /proc/PID/stat after the name.
func procStat(t *testing.T, pid int) []string {
	t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	must(t, err)
	return strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
}

// TestKillForkers kills processes that fork and end all the time: a list of them is old before it is read. Ten are alive at
// once, so that the machine stays usable if they can't be killed.
func TestKillForkers(t *testing.T) {
	h, base := testHost(t)
	for _, m := range modes(t, h) {
		t.Run(string(m.mode), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			g, err := m.Create(ctx, base+"/forkers-"+string(m.mode), nil)
			must(t, err)
			_ = start(t, g, "f() { f & }; for i in 1 2 3 4 5 6 7 8 9 10; do f & done 2>/dev/null; sleep 1000; true")
			seen := map[int]bool{}
			for len(seen) < 100 { // until it is under way
				pids, err := g.PIDs()
				must(t, errors.Join(err, ctx.Err()))
				for _, pid := range pids {
					seen[pid] = true
				}
			}
			must(t, g.Kill(ctx))
			if pids, err := g.PIDs(); err != nil || len(pids) > 0 {
				t.Errorf("left: %v, %v", pids, err)
			}
			must(t, g.Remove(ctx))
		})
	}
}

func TestOOMKills(t *testing.T) {
	h, base := testHost(t)
	requireControllers(t, h, "memory")
	g, err := h.Create(t.Context(), base+"/oom", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(8 << 20)), Swap: new(int64(8 << 20))}})
	must(t, err)
	if n, err := g.OOMKills(); n != 0 || err != nil {
		t.Errorf("OOMKills = %d, %v", n, err)
	}
	cmd := start(t, g, "x=aaaaaaaa; while :; do x=$x$x; done")
	if err := cmd.Wait(); err == nil {
		t.Error("a shell with endless memory ended well")
	}
	n, err := g.OOMKills()
	must(t, err)
	if n == 0 {
		t.Error("OOMKills = 0 after a kill")
	}
	s, err := g.Stats()
	must(t, err)
	if s.Memory.OOMKills != n || s.Memory.Limit != 8<<20 {
		t.Errorf("Stats().Memory = %+v", s.Memory)
	}
}

func TestStats(t *testing.T) {
	h, base := testHost(t)
	requireControllers(t, h, "memory", "pids")
	g, err := h.Create(t.Context(), base+"/stats", &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: new(int64(256 << 20)), Swap: new(int64(256 << 20))},
		Pids:   &specs.LinuxPids{Limit: new(int64(20))},
	})
	must(t, err)
	_ = start(t, g, "x=aaaaaaaa; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do x=$x$x; done; i=0; while :; do i=$((i+1)); done")
	deadline := time.Now().Add(30 * time.Second)
	var s Stats
	for s.CPU == nil || s.CPU.UsageNS < 20e6 || s.Memory.RSS < 8<<20 { // the kernel sums memory up every two seconds
		if time.Now().After(deadline) {
			t.Fatalf("nothing was counted: %+v, %+v", s.CPU, s.Memory)
		}
		s, err = g.Stats()
		must(t, err)
	}
	if s.PIDs.Current < 1 || s.PIDs.Limit != 20 {
		t.Errorf("PIDs = %+v", s.PIDs)
	}
	m := s.Memory
	if m.Limit != 256<<20 || m.Usage == 0 || m.WorkingSet > m.Usage || m.PageFaults == 0 || m.SwapLimit != 0 {
		t.Errorf("Memory = %+v", m)
	}
	if h.tracker.v2 && s.CPU.Pressure == nil {
		t.Log("no pressure counters in this kernel")
	}
	t.Logf("%+v %+v %+v %+v", *s.CPU, *m, *s.PIDs, s.IO)
}

// TestEmptyCPUSetAbove: v1's cpusets are filled from above all the way, or nobody could join.
func TestEmptyCPUSetAbove(t *testing.T) {
	h, base := testHost(t)
	hi := h.byController["cpuset"]
	if hi == nil || hi.v2 {
		testutil.Skip(t, "cpuset is not on v1 here")
	}
	must(t, os.MkdirAll(filepath.Join(hi.mount, base, "bare/below"), 0o755))
	g, err := h.Create(t.Context(), base+"/bare/below/ctr", nil)
	must(t, err)
	_ = start(t, g, "sleep 1000; true")
	root, err := os.ReadFile(filepath.Join(hi.mount, "cpuset.cpus"))
	must(t, err)
	if got := read(t, g, "cpuset", "cpuset.cpus"); got != strings.TrimSpace(string(root)) {
		t.Errorf("cpuset.cpus = %q, want %q", got, root)
	}
}
