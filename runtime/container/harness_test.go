package container_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/supervise"
)

func TestMain(m *testing.M) {
	// What a killed keeper leaves becomes a child of the nearest sub-reaper, as it would of init.
	const setChildSubreaper = 36
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		fmt.Fprintln(os.Stderr, "become a sub-reaper:", errno)
		os.Exit(1)
	}
	testutil.Main(m)
}

// binaries are built once for a test function and its subtests.
type binaries struct{ keeper, probe string }

func build(t testing.TB) binaries {
	t.Helper()
	testutil.RequireRoot(t)
	if _, err := exec.LookPath("go"); err != nil { // in the virtual machine, which brings them along
		return prebuilt(t)
	}
	dir := t.TempDir()
	b := binaries{filepath.Join(dir, "berth-keeper"), filepath.Join(dir, "probe")}
	for out, pkg := range map[string]string{b.keeper: "../cmd/berth-keeper", b.probe: "./testdata/probe"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, text)
		}
	}
	return b
}

func prebuilt(t testing.TB) binaries {
	t.Helper()
	b := binaries{filepath.Join(t.TempDir(), "berth-keeper"), "testdata/bin/probe"}
	data, err := os.ReadFile("../../bin/berth-keeper")
	if err == nil {
		_, err = os.Stat(b.probe)
	}
	if err != nil {
		testutil.Skip(t, "no Go compiler, and no programs made beforehand: %v", err)
	}
	testutil.Must(t, os.WriteFile(b.keeper, data, 0o755))
	return b
}

// node is a runtime with a keeper of its own.
type node struct {
	*container.Runtime
	bin    binaries
	dir    string
	cgroup string
	host   *cgroup.Host
	sup    *supervise.Supervisor
	logger *slog.Logger
	warned *sharedText
	nth    int

	resctrl string // in place of the kernel's

	reapers sync.WaitGroup

	mu    sync.Mutex
	exits map[string][]client.Exit
}

// bg is the context of calls whose time does not matter; t.Context would be over in clean-ups.
func bg() context.Context { return context.Background() }

// sharedText is a log that tests can read while it grows.
type sharedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *sharedText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sharedText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newNode(t testing.TB, bin binaries) *node {
	t.Helper()
	n := &node{bin: bin, dir: t.TempDir(), warned: &sharedText{}}
	n.logger = slog.New(slog.NewTextHandler(n.warned, &slog.HandlerOptions{Level: slog.LevelInfo}))
	n.cgroup = testutil.CgroupRoot() + "/" + strings.ReplaceAll(t.Name(), "/", "-")
	var err error
	n.host, err = cgroup.Detect()
	testutil.Must(t, err)
	n.boot(t)
	t.Cleanup(func() {
		n.shutdown(t)
		n.killKeeper(t)
		n.reapers.Wait()
		for _, path := range []string{n.cgroup, testutil.CgroupRoot()} {
			g, err := n.host.Ensure(bg(), path)
			testutil.Must(t, err)
			if err := g.Remove(bg()); err != nil {
				t.Error(err)
			}
		}
		testutil.Must(t, n.host.Close())
		reapOrphans()
		if t.Failed() {
			t.Logf("log:\n%s", n.warned)
			if data, err := os.ReadFile(n.dir + "/keeper/keeper.log"); err == nil {
				t.Logf("keeper's log:\n%s", data)
			}
		}
	})
	return n
}

// boot makes the Runtime, as a start of the daemon does.
func (n *node) boot(t testing.TB) {
	t.Helper()
	n.sup = supervise.New(supervise.Config{
		Binary: n.bin.keeper, Socket: n.dir + "/keeper/socket", StateDir: n.dir + "/keeper", Logger: n.logger,
	})
	ctx, cancel := context.WithTimeout(bg(), 20*time.Second)
	defer cancel()
	r, err := container.New(ctx, container.Config{State: n.dir + "/stdio", Keeper: n.sup, Cgroups: n.host, Logger: n.logger, Resctrl: n.resctrl})
	testutil.Must(t, err)
	n.Runtime = r
	n.mu.Lock()
	n.exits = make(map[string][]client.Exit)
	n.mu.Unlock()
	go func(exits <-chan container.ExitEvent) {
		for e := range exits {
			n.mu.Lock()
			n.exits[e.ID] = append(n.exits[e.ID], e.Exit)
			n.mu.Unlock()
		}
	}(r.Exits())
}

// shutdown ends the Runtime; the keeper and the containers live on.
func (n *node) shutdown(t testing.TB) {
	t.Helper()
	if n.Runtime == nil {
		return
	}
	testutil.Must(t, n.Runtime.Close())
	testutil.Must(t, n.sup.Close())
	n.Runtime = nil
}

// reapOrphans reaps what containers without a PID namespace left to us.
func reapOrphans() {
	for {
		var status syscall.WaitStatus
		if pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); err != syscall.EINTR && pid <= 0 {
			return
		}
	}
}

// keeperPID finds the keeper by its command line.
func (n *node) keeperPID(t testing.TB) int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	testutil.Must(t, err)
	for _, d := range dirs {
		data, err := os.ReadFile(d)
		if err != nil || !strings.HasPrefix(string(data), n.bin.keeper+"\x00--socket\x00"+n.dir+"/") {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(d, "/")[2])
		testutil.Must(t, err)
		return pid
	}
	return 0
}

// killKeeper kills the keeper and waits for its end. Its children are reaped when they end, as init would do: the first
// process of a PID namespace can't end before.
func (n *node) killKeeper(t testing.TB) {
	t.Helper()
	pid := n.keeperPID(t)
	if pid == 0 {
		return
	}
	f, err := sys.PidfdOpen(pid)
	testutil.Must(t, err)
	defer f.Close()
	var orphans []string
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	testutil.Must(t, err)
	for _, list := range lists {
		data, err := os.ReadFile(list)
		testutil.Must(t, err)
		orphans = append(orphans, strings.Fields(string(data))...)
	}
	testutil.Must(t, sys.PidfdSignal(f, syscall.SIGKILL))
	testutil.Must(t, sys.AwaitPidfd(bg(), f))
	for _, o := range orphans {
		child, err := strconv.Atoi(o)
		testutil.Must(t, err)
		n.reapers.Go(func() {
			var status syscall.WaitStatus
			for {
				if _, err := syscall.Wait4(child, &status, 0, nil); err != syscall.EINTR {
					return
				}
			}
		})
	}
	if n.Runtime == nil { // nobody else reaps it; if it is not our child, somebody does
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil && err != syscall.ECHILD {
			t.Error(err)
		}
	}
}

// newRoot returns a detached root file system with the probe in it.
func (n *node) newRoot(t testing.TB, change func(root string)) *os.File {
	t.Helper()
	fs, err := sys.Fsopen("tmpfs")
	testutil.Must(t, err)
	root, err := fs.Mount("root", 0)
	testutil.Must(t, err)
	testutil.Must(t, fs.Close())
	path := fmt.Sprintf("/proc/self/fd/%d", root.Fd())
	for _, d := range []string{"bin", "etc", "tmp", "proc", "sys", "dev", "work"} {
		testutil.Must(t, os.Mkdir(path+"/"+d, 0o755))
	}
	testutil.Must(t, os.Chmod(path+"/tmp", 0o1777))
	probe, err := os.ReadFile(n.bin.probe)
	testutil.Must(t, err)
	testutil.Must(t, os.WriteFile(path+"/bin/probe", probe, 0o755))
	testutil.Must(t, os.WriteFile(path+"/etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644))
	if change != nil {
		change(path)
	}
	return root
}

// newSpec returns a spec like those that a kubelet's requests lead to, with all namespaces new.
func (n *node) newSpec(id string, args ...string) *specs.Spec {
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"}
	return &specs.Spec{
		Version:  specs.Version,
		Hostname: "probe-host",
		Root:     &specs.Root{Path: "rootfs"},
		Process: &specs.Process{
			Args: append([]string{"/bin/probe"}, args...), Cwd: "/",
			Env:          []string{"PATH=/usr/bin:/bin", "HOME=/root"},
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: n.cgroup + "/" + id,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.MountNamespace},
				{Type: specs.PIDNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.CgroupNamespace},
			},
			Resources: &specs.LinuxResources{},
			MaskedPaths: []string{
				"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
				"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

// trial is one container of a test.
type trial struct {
	t    testing.TB
	n    *node
	id   string
	spec *specs.Spec
	opts container.CreateOptions
}

// newTrial prepares a container that runs the probe's commands, with a root of its own.
func (n *node) newTrial(t testing.TB, commands ...string) *trial {
	t.Helper()
	n.nth++
	id := fmt.Sprintf("c%d", n.nth)
	tr := &trial{t: t, n: n, id: id, spec: n.newSpec(id, commands...)}
	tr.opts = container.CreateOptions{ID: id, Spec: tr.spec, LogPath: filepath.Join(n.dir, id+".log")}
	return tr
}

func (tr *trial) create() error {
	if tr.opts.Root == nil {
		tr.opts.Root = tr.n.newRoot(tr.t, nil)
	}
	tr.t.Cleanup(func() {
		if tr.n.Runtime == nil {
			return
		}
		if err := tr.n.Delete(bg(), tr.id, container.DeleteOptions{CgroupPath: tr.spec.Linux.CgroupsPath}); err != nil {
			tr.t.Errorf("delete %s: %v", tr.id, err)
		}
	})
	return tr.n.Create(bg(), tr.opts)
}

func (tr *trial) start() error {
	if err := tr.create(); err != nil {
		return err
	}
	_, err := tr.n.Start(bg(), tr.id)
	return err
}

// wait waits for the end.
func (tr *trial) wait() client.Exit {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(bg(), 20*time.Second)
	defer cancel()
	exit, err := tr.n.Wait(ctx, tr.id)
	if err != nil {
		tr.t.Fatal(err)
	}
	return exit
}

// run runs the container to its end and returns its output.
func (tr *trial) run() string {
	tr.t.Helper()
	if err := tr.start(); err != nil {
		tr.t.Fatal(err)
	}
	if exit := tr.wait(); exit.Code != 0 || !exit.Known {
		tr.t.Errorf("exit %+v\n%s", exit, tr.output())
	}
	return tr.output()
}

// output returns what the container wrote to its log, without the log's own columns.
func (tr *trial) output() string {
	tr.t.Helper()
	data, err := os.ReadFile(tr.opts.LogPath)
	if err != nil {
		tr.t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(line, " ", 4)
		if len(f) != 4 {
			tr.t.Fatalf("log line %q", line)
		}
		if f[2] == "P" {
			f[3] = strings.TrimSuffix(f[3], "\n")
		}
		b.WriteString(f[3])
	}
	return b.String()
}

// awaitOutput waits until the log holds a text.
func (tr *trial) awaitOutput(text string) string {
	tr.t.Helper()
	for range 500 {
		if data, err := os.ReadFile(tr.opts.LogPath); err == nil && strings.Contains(string(data), text) {
			return tr.output()
		}
		time.Sleep(10 * time.Millisecond)
	}
	tr.t.Fatalf("no %q in the log", text)
	return ""
}

// exec runs the probe's commands in the container and returns the output and the exit.
func (tr *trial) exec(change func(*specs.Process), commands ...string) (string, client.Exit, error) {
	tr.t.Helper()
	p := *tr.spec.Process
	p.Args = append([]string{"/bin/probe"}, commands...)
	p.Terminal = false
	if change != nil {
		change(&p)
	}
	r, w, err := os.Pipe()
	if err != nil {
		tr.t.Fatal(err)
	}
	defer r.Close()
	e, err := tr.n.Exec(bg(), tr.id, container.ExecOptions{Process: &p, Stdout: w, Stderr: w})
	if closeErr := w.Close(); closeErr != nil {
		tr.t.Fatal(closeErr)
	}
	if err != nil {
		return "", client.Exit{}, err
	}
	out, err := io.ReadAll(r)
	if err != nil {
		tr.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(bg(), 20*time.Second)
	defer cancel()
	exit, err := e.Wait(ctx)
	if err != nil {
		tr.t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		tr.t.Error(err)
	}
	return string(out), exit, nil
}

func want(t testing.TB, out string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains("\n"+out, "\n"+l+"\n") {
			t.Errorf("no line %q in:\n%s", l, out)
		}
	}
}

func wantNot(t testing.TB, out string, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if strings.Contains(out, s) {
			t.Errorf("%q in:\n%s", s, out)
		}
	}
}

// startAsIs is start without a root of the harness's.
func (tr *trial) startAsIs() error {
	tr.t.Helper()
	tr.t.Cleanup(func() { testutil.Must(tr.t, tr.n.Delete(bg(), tr.id, container.DeleteOptions{})) })
	if err := tr.n.Create(bg(), tr.opts); err != nil {
		return err
	}
	_, err := tr.n.Start(bg(), tr.id)
	return err
}

func fdName(f *os.File) string { return strconv.Itoa(int(f.Fd())) }

// wantExit checks the exit of a process that ended after the death of the keeper that had started it. Before Linux 6.15 it
// can't be known, which has to be said.
func wantExit(t testing.TB, exit client.Exit, code int) {
	t.Helper()
	var u syscall.Utsname
	testutil.Must(t, syscall.Uname(&u))
	var release []byte
	for _, c := range u.Release {
		release = append(release, byte(c))
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(release), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	if major < 6 || major == 6 && minor < 15 {
		if exit.Known && exit.Code != code || !exit.Known && (exit.Code != 255 || exit.Reason == "") {
			t.Errorf("exit %+v, want %d or an unknown one", exit, code)
		}
		return
	}
	if !exit.Known || exit.Code != code {
		t.Errorf("exit %+v, want %d", exit, code)
	}
}
