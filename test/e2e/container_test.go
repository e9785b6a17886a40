package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/lsm"
	"github.com/berth-runtime/berth/test/node"
)

// TestExitCodesAndLogs wants codes, reasons, times and both streams as the program made them.
func TestExitCodesAndLogs(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	for name, c := range map[string]struct {
		script, reason string
		code           int32
		log            []string // "stream tag text"
	}{
		"ok":     {"echo out; echo err >&2", "Completed", 0, []string{"stdout F out", "stderr F err"}},
		"fails":  {"echo bye; exit 7", "Error", 7, []string{"stdout F bye"}},
		"killed": {"exec sleep 1000", "Error", 137, nil}, // from outside: the first process of a PID namespace can't kill itself
		"noeol":  {"printf 'no newline'", "Completed", 0, []string{"stdout P no newline"}},
		"long":   {"head -c 20000 /dev/zero | tr '\\0' x; echo", "Completed", 0, []string{"stdout P " + strings.Repeat("x", 16384), "stdout F " + strings.Repeat("x", 20000-16384)}},
	} {
		t.Run(name, func(t *testing.T) {
			before := time.Now()
			ctr := run(t, p, name, busybox, "sh", "-c", c.script)
			if name == "killed" {
				testutil.Must(t, ctr.Stop(t.Context(), 0))
			}
			s, err := ctr.WaitExited(t.Context())
			testutil.Must(t, err)
			if s.GetExitCode() != c.code || s.GetReason() != c.reason {
				t.Errorf("exit %d, reason %q; want %d, %q", s.GetExitCode(), s.GetReason(), c.code, c.reason)
			}
			for what, at := range map[string]int64{"created": s.GetCreatedAt(), "started": s.GetStartedAt(), "finished": s.GetFinishedAt()} {
				if when := time.Unix(0, at); when.Before(before.Add(-time.Second)) || when.After(time.Now()) {
					t.Errorf("%s at %v", what, when)
				}
			}
			wantLog(t, ctr.Log, c.log)
		})
	}
}

// wantLog compares a log's lines, stream by stream: the order between streams is not defined.
func wantLog(t *testing.T, path string, want []string) {
	t.Helper()
	lines, err := node.ReadLog(path)
	testutil.Must(t, err)
	got := map[string][]string{}
	for _, l := range lines {
		tag := map[bool]string{true: "F", false: "P"}[l.Full]
		got[l.Stream] = append(got[l.Stream], fmt.Sprintf("%s %s %s", l.Stream, tag, l.Text))
	}
	wanted := map[string][]string{}
	for _, w := range want {
		stream, _, _ := strings.Cut(w, " ")
		wanted[stream] = append(wanted[stream], w)
	}
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		t.Errorf("log:\n%v\nwant:\n%v", got, wanted)
	}
}

// TestOOMKilled wants a container over its limit to be reported as such.
func TestOOMKilled(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	cfg := node.ContainerConfig("c", busybox, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1; exit $?") // one big buffer: quick on a slow machine
	cfg.Linux.Resources = &cri.LinuxContainerResources{MemoryLimitInBytes: 20 << 20, MemorySwapLimitInBytes: 20 << 20}
	c, err := p.Run(t.Context(), cfg)
	testutil.Must(t, err)
	s, err := c.WaitExited(t.Context())
	testutil.Must(t, err)
	if s.GetReason() != "OOMKilled" || s.GetExitCode() == 0 {
		t.Errorf("reason %q, exit %d", s.GetReason(), s.GetExitCode())
	}
}

// TestLogRotation wants output after a rotation in the new file, none lost and none twice.
func TestLogRotation(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	c := run(t, p, "c", busybox, "sh", "-c", "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); usleep 5000; done")
	files := []string{}
	for i := range 3 {
		wantGrowth(t, c.Log)
		rotated := fmt.Sprintf("%s.%d", c.Log, i)
		testutil.Must(t, os.Rename(c.Log, rotated))
		_, err := f.ReopenContainerLog(t.Context(), &cri.ReopenContainerLogRequest{ContainerId: c.ID})
		testutil.Must(t, err)
		files = append(files, rotated)
	}
	_, err := c.WaitExited(t.Context())
	testutil.Must(t, err)
	var text strings.Builder
	for _, file := range append(files, c.Log) {
		lines, err := node.ReadLog(file)
		testutil.Must(t, err)
		text.WriteString(node.Text(lines))
	}
	wantCount(t, text.String(), 400)
}

// wantGrowth waits until a log has lines.
func wantGrowth(t *testing.T, path string) {
	t.Helper()
	testutil.Must(t, node.Eventually(t.Context(), 10*time.Second, func() error {
		info, err := os.Stat(path)
		if err == nil && info.Size() < 500 {
			err = fmt.Errorf("%s has %d bytes", path, info.Size())
		}
		return err
	}))
}

// wantCount wants "line 0" to "line n-1", each once, in order.
func wantCount(t *testing.T, text string, n int) {
	t.Helper()
	var want strings.Builder
	for i := range n {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if text != want.String() {
		got := strings.Split(strings.TrimSpace(text), "\n")
		for i, line := range got {
			if line != fmt.Sprintf("line %d", i) {
				t.Fatalf("line %d of the output is %q; %d lines in all, want %d", i, line, len(got), n)
			}
		}
		t.Fatalf("%d lines, want %d", len(got), n)
	}
}

// TestExec wants output, errors, codes and time-outs of commands to be their own.
func TestExec(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	c := run(t, p, "c", busybox, "sleep", "1000")
	r, err := f.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: c.ID, Cmd: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}})
	testutil.Must(t, err)
	if string(r.GetStdout()) != "out\n" || string(r.GetStderr()) != "err\n" || r.GetExitCode() != 3 {
		t.Errorf("%q, %q, %d", r.GetStdout(), r.GetStderr(), r.GetExitCode())
	}
	began := time.Now()
	_, err = f.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: c.ID, Cmd: []string{"sh", "-c", "sleep 77 & sleep 78"}, Timeout: 1})
	if err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("a time-out of 1 s: %v after %v", err, time.Since(began))
	}
	if out := exec(t, c, "sh", "-c", "ps | grep -E 'sleep 7[78]' | grep -v grep || true"); out != "" {
		t.Errorf("the timed out command's processes live on:\n%s", out)
	}
	// A process in the background keeps its stdout open; the command has ended all the same.
	began = time.Now()
	r, err = f.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: c.ID, Cmd: []string{"sh", "-c", "sleep 20 & echo started"}, Timeout: 15})
	testutil.Must(t, err)
	if string(r.GetStdout()) != "started\n" || time.Since(began) > 12*time.Second {
		t.Errorf("%q after %v", r.GetStdout(), time.Since(began))
	}
	r, err = f.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: c.ID, Cmd: []string{"no-such-command"}})
	if err == nil && r.GetExitCode() == 0 {
		t.Error("a command that is not there succeeds")
	}
}

// TestResources wants limits to reach the kernel, at the start and by an update.
func TestResources(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	cfg := node.ContainerConfig("c", busybox, "sleep", "1000")
	cfg.Linux.Resources = &cri.LinuxContainerResources{CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 512, MemoryLimitInBytes: 64 << 20}
	c, err := p.Run(t.Context(), cfg)
	testutil.Must(t, err)
	check := func(v1, v2, want string) {
		t.Helper()
		out := exec(t, c, "sh", "-c", fmt.Sprintf("cat /sys/fs/cgroup/%s 2>/dev/null || cat /sys/fs/cgroup/%s", v1, v2))
		if !strings.HasPrefix(out, want) {
			t.Errorf("%s is %q, want %q", v1, out, want)
		}
	}
	check("cpu/cpu.cfs_quota_us", "cpu.max", "50000")
	check("memory/memory.limit_in_bytes", "memory.max", "67108864")
	_, err = f.UpdateContainerResources(t.Context(), &cri.UpdateContainerResourcesRequest{
		ContainerId: c.ID, Linux: &cri.LinuxContainerResources{CpuPeriod: 100000, CpuQuota: 25000, MemoryLimitInBytes: 128 << 20},
	})
	testutil.Must(t, err)
	check("cpu/cpu.cfs_quota_us", "cpu.max", "25000")
	check("memory/memory.limit_in_bytes", "memory.max", "134217728")
	s, err := f.ContainerStats(t.Context(), &cri.ContainerStatsRequest{ContainerId: c.ID})
	testutil.Must(t, err)
	if s.GetStats().GetMemory().GetWorkingSetBytes().GetValue() == 0 || s.GetStats().GetCpu().GetUsageCoreNanoSeconds().GetValue() == 0 {
		t.Errorf("stats: %v", s.GetStats())
	}
}

// TestStopIsGentleThenFirm wants the stop signal to come first and force after the grace time.
func TestStopIsGentleThenFirm(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	gentle := run(t, p, "gentle", busybox, "sh", "-c", "trap 'echo ending; exit 5' TERM; while :; do sleep 0.1; done")
	stubborn := run(t, p, "stubborn", busybox, "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
	wantReady(t, stubborn)
	testutil.Must(t, gentle.Stop(t.Context(), 10*time.Second))
	s, err := gentle.Status(t.Context())
	testutil.Must(t, err)
	if s.GetExitCode() != 5 {
		t.Errorf("the gentle one exits with %d", s.GetExitCode())
	}
	began := time.Now()
	testutil.Must(t, stubborn.Stop(t.Context(), time.Second))
	s, err = stubborn.Status(t.Context())
	testutil.Must(t, err)
	if took := time.Since(began); s.GetExitCode() != 137 || took < 900*time.Millisecond || took > 8*time.Second {
		t.Errorf("the stubborn one exits with %d after %v", s.GetExitCode(), took)
	}
	testutil.Must(t, stubborn.Stop(t.Context(), time.Second)) // once more is no error
}

func wantReady(t *testing.T, c *node.Container) {
	t.Helper()
	testutil.Must(t, node.Eventually(t.Context(), 10*time.Second, func() error {
		lines, err := node.ReadLog(c.Log)
		if err == nil && len(lines) == 0 {
			err = fmt.Errorf("%s is empty", c.Log)
		}
		return err
	}))
}

// TestSharedPIDNamespace wants the containers of a pod that asks for it to see each other.
func TestSharedPIDNamespace(t *testing.T) {
	f := setup(t, node.Options{})
	shared := &cri.NamespaceOption{Pid: cri.NamespaceMode_POD}
	p := f.pod(t, "p", func(c *cri.PodSandboxConfig) {
		c.Linux.SecurityContext = &cri.LinuxSandboxSecurityContext{NamespaceOptions: shared}
	})
	for _, name := range []string{"a", "b"} {
		cfg := node.ContainerConfig(name, busybox, "sleep", "12"+map[string]string{"a": "1", "b": "2"}[name])
		cfg.Linux.SecurityContext = &cri.LinuxContainerSecurityContext{NamespaceOptions: shared}
		c, err := p.Run(t.Context(), cfg)
		testutil.Must(t, err)
		if name == "b" {
			if out := exec(t, c, "ps"); !strings.Contains(out, "sleep 121") || !strings.Contains(out, "sleep 122") {
				t.Errorf("b sees:\n%s", out)
			}
		}
	}
}

// TestRetriedCreateJoins wants a repeated request to return the pod of the first, not an error.
func TestRetriedCreateJoins(t *testing.T) {
	f := setup(t, node.Options{})
	cfg := node.PodConfig("p", f.logs)
	testutil.Must(t, os.MkdirAll(cfg.GetLogDirectory(), 0o755))
	ids := make(chan string, 4)
	errs := make(chan error, 4)
	for range 4 {
		go func() {
			r, err := f.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: cfg})
			errs <- err
			ids <- r.GetPodSandboxId()
		}()
	}
	first := ""
	for range 4 {
		testutil.Must(t, <-errs)
		id := <-ids
		if first == "" {
			first = id
		}
		if id != first {
			t.Errorf("two pods for one request: %s and %s", first, id)
		}
	}
}

// TestDefaultProfile wants a container and what is executed in it to run under berth's AppArmor profile when nobody asks for one.
func TestDefaultProfile(t *testing.T) {
	have, err := lsm.Detect()
	testutil.Must(t, err)
	if !have.AppArmor || !lsm.CanLoad() {
		testutil.Skip(t, "AppArmor is off, or its parser is missing")
	}
	f := setup(t, node.Options{})
	c := run(t, f.pod(t, "p"), "c", busybox, "sleep", "1000")
	got := exec(t, c, "cat", "/proc/1/attr/apparmor/current", "/proc/self/attr/apparmor/current")
	if line := lsm.DefaultProfile + " (enforce)\n"; got != line+line {
		t.Errorf("profiles %q", got)
	}
}
