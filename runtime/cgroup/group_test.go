package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(holdEnv); kind != "" {
		hold(kind)
	}
	testutil.Main(m)
}

// testHost returns this machine's hierarchies and the path of a group that the test may fill; it is removed at the end,
// together with whatever the test left in it.
func testHost(t testing.TB) (*Host, string) {
	t.Helper()
	testutil.RequireRoot(t)
	h, err := Detect()
	if errors.Is(err, errdefs.ErrNotSupported) {
		testutil.Skip(t, "%v", err)
	}
	must(t, err)
	root, err := h.Ensure(t.Context(), testutil.CgroupRoot())
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EROFS) {
		testutil.Skip(t, "cgroups are not writable: %v", err)
	}
	must(t, err)
	g, err := h.Ensure(t.Context(), fmt.Sprintf("%s/%d", testutil.CgroupRoot(), time.Now().UnixNano()))
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(g.Kill(ctx), g.Remove(ctx), root.Remove(ctx), h.Close()); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return h, g.Path()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a shell script as a member of the group: the shell itself joins v1, and is born into cgroup2.
func start(t testing.TB, g *Group, script string) *exec.Cmd {
	t.Helper()
	cmd, _ := startTalking(t, g, script)
	return cmd
}

// startTalking is start for a script that has more to say.
func startTalking(t testing.TB, g *Group, script string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	files, err := g.JoinFiles()
	must(t, err)
	dir, err := g.Dir()
	must(t, err)
	join := ""
	cmd := exec.Command("/bin/sh")
	for i, f := range files {
		join += fmt.Sprintf("echo 0 >/proc/self/fd/%d || exit 97; ", i+3)
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Args = append(cmd.Args, "-c", join+"echo joined; "+script)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if dir != nil {
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	for _, f := range files {
		must(t, f.Close())
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "joined\n" {
		t.Fatalf("the shell did not join %s: %q, %v", g.Path(), line, err)
	}
	return cmd, lines
}

// read returns the content of a group's control file.
func read(t testing.TB, g *Group, controller, file string) string {
	t.Helper()
	hi := g.host.byController[controller]
	data, err := os.ReadFile(filepath.Join(hi.mount, g.below(hi), file))
	must(t, err)
	return strings.TrimSpace(string(data))
}

func TestCreateSetsLimits(t *testing.T) {
	h, base := testHost(t)
	r := &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: new(uint64(512)), Quota: new(int64(50000)), Period: new(uint64(100000)), Cpus: "0"},
		Memory: &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(64 << 20))},
		Pids:   &specs.LinuxPids{Limit: new(int64(77))},
	}
	if h.Has("hugetlb") {
		r.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}
	}
	g, err := h.Create(t.Context(), base+"/pod/ctr", r)
	must(t, err)
	want := []struct{ controller, v1file, v1value, v2file, v2value string }{
		{"cpu", "cpu.shares", "512", "cpu.weight", "59"},
		{"cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"},
		{"cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"},
		{"memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864"},
		{"pids", "pids.max", "77", "pids.max", "77"},
		{"hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304", "hugetlb.2MB.max", "4194304"},
	}
	for _, w := range want {
		v2, ok := h.isV2(w.controller)
		if !ok {
			t.Logf("no %s controller here", w.controller)
			continue
		}
		file, value := w.v1file, w.v1value
		if v2 {
			file, value = w.v2file, w.v2value
		}
		if got := read(t, g, w.controller, file); got != value {
			t.Errorf("%s = %q, want %q", file, got, value)
		}
	}
	if _, err := h.Create(t.Context(), base+"/pod/ctr", r); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("a second Create = %v, want ErrExists", err)
	}
	if got := read(t, g, "pids", "pids.max"); got != "77" {
		t.Errorf("a refused Create changed the group: pids.max = %s", got)
	}
	must(t, g.Remove(t.Context()))
	must(t, g.Remove(t.Context()))
	if _, err := h.Open(base + "/pod/ctr"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Open after Remove = %v, want ErrNotFound", err)
	}
}

func TestKillEndsATree(t *testing.T) {
	h, base := testHost(t)
	g, err := h.Create(t.Context(), base+"/ctr", nil)
	must(t, err)
	cmd := start(t, g, "sleep 1000 & setsid sleep 1000 & (sleep 1000; true) & wait")
	sub, err := g.Sub(t.Context(), "exec")
	must(t, err)
	inSub := start(t, sub, "sleep 1000; true")
	pids, err := g.PIDs()
	must(t, err)
	if !slices.Contains(pids, cmd.Process.Pid) || !slices.Contains(pids, inSub.Process.Pid) {
		t.Errorf("PIDs = %v, want %d and %d in it", pids, cmd.Process.Pid, inSub.Process.Pid)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, sub.Kill(ctx))
	if err := inSub.Wait(); err == nil {
		t.Error("the process in the sub-group ended well")
	}
	left, err := g.PIDs()
	must(t, err)
	if !slices.Contains(left, cmd.Process.Pid) || slices.Contains(left, inSub.Process.Pid) {
		t.Errorf("after the sub-group's end %v are left, want %d and not %d in it", left, cmd.Process.Pid, inSub.Process.Pid)
	}
	must(t, g.Kill(ctx))
	left, err = g.PIDs()
	must(t, err)
	if len(left) != 0 {
		t.Errorf("after Kill %v are left", left)
	}
	must(t, g.Remove(ctx))
	if err := cmd.Wait(); err == nil {
		t.Error("the killed shell ended well")
	}
}
