package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestRunPassesStdioAndExitCode(t *testing.T) {
	p := newPlace(t)
	p.shell("read line; echo got $line; echo oops >&2; exit 7")
	p.write()
	cmd := p.command("run", "c")
	cmd.Stdin = strings.NewReader("input\n")
	r := p.finish(cmd)
	if r.code != 7 || r.stdout != "got input\n" || r.stderr != "oops\n" {
		t.Errorf("%+v", r)
	}
	want(t, "list after run", p.ok("list", "-q"), "")
	p.shell("kill -TERM $$")
	p.spec.Linux.Namespaces = p.spec.Linux.Namespaces[1:] // of the host's PID namespace: not an init, which has no defaults
	p.write()
	if r := p.call("run", "c"); r.code != 128+15 {
		t.Errorf("ended by SIGTERM: %+v", r)
	}
}

// All signals reach the container's process: those that the program was started to read from a file, and those that the Go
// runtime catches.
func TestRunPassesSignalsOn(t *testing.T) {
	p := newPlace(t)
	at := p.fifo("told")
	p.shell(`for s in USR1 TSTP WINCH 37 64; do trap "echo $s >/told" $s; done; trap "exit 5" TERM
		sleep 1000 & echo up >/told; while :; do wait; done`)
	p.write()
	cmd := p.command("run", "c")
	testutil.Must(t, cmd.Start())
	told := func(wanted string) {
		t.Helper()
		data, err := os.ReadFile(at)
		testutil.Must(t, err)
		want(t, "told by the container", strings.TrimSpace(string(data)), wanted)
	}
	told("up")
	status, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/status")
	testutil.Must(t, err)
	_, line, _ := strings.Cut(string(status), "SigBlk:")
	blocked, err := strconv.ParseUint(strings.Fields(line)[0], 16, 64)
	if entry := uint64(0xfffffffc3bba2a00); err != nil || blocked&entry != entry {
		t.Errorf("the program's entry has blocked %x, %v", blocked, err)
	}
	for name, n := range map[string]syscall.Signal{"USR1": syscall.SIGUSR1, "TSTP": syscall.SIGTSTP, "WINCH": syscall.SIGWINCH, "37": 37, "64": 64} {
		testutil.Must(t, cmd.Process.Signal(n))
		if n != syscall.SIGWINCH { // which is about this process's terminal
			told(name)
		}
	}
	testutil.Must(t, cmd.Process.Signal(syscall.SIGTERM)) // caught since before the file was read
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("%v, want exit code 5", err)
	}
}

// A signal that asks run to end while it is still busy with the start reaches the process afterwards, instead of ending run and
// leaving the container behind.
func TestRunKeepsSignalsForTheProcess(t *testing.T) {
	p := newPlace(t)
	up, busy, release := p.fifo("up"), p.fifo("busy"), p.fifo("release")
	p.spec.Hooks = &specs.Hooks{Poststart: []specs.Hook{{
		Path: "/usr/bin/sh", Args: []string{"sh", "-c", "echo busy >" + busy + "; read line <" + release},
	}}}
	hold, err := os.OpenFile(release, os.O_RDWR, 0)
	testutil.Must(t, err)
	defer hold.Close()
	for _, n := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		p.shell(fmt.Sprintf(`trap "exit 5" %d; sleep 1000 & echo up >/up; while :; do wait; done`, n))
		p.write()
		cmd := p.command("run", "c")
		testutil.Must(t, cmd.Start())
		for _, at := range []string{up, busy} {
			_, err := os.ReadFile(at)
			testutil.Must(t, err)
		}
		testutil.Must(t, cmd.Process.Signal(n))
		_, err = hold.WriteString("go on\n")
		testutil.Must(t, err)
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
			t.Fatalf("%v: %v, want exit code 5", n, err)
		}
		want(t, "list after run", p.ok("list", "-q"), "")
	}
}

func TestCreateStartKillDelete(t *testing.T) {
	p := newPlace(t)
	at := p.fifo("ready")
	p.shell("echo up >/ready; exec sleep 1000")
	p.write()
	pidFile := filepath.Join(p.root, "..", "pid")
	p.ok("create", "--pid-file", pidFile, "c")
	want(t, "status", p.status("c"), "created")
	p.fails(1, "container with id exists", "create", "c")
	p.ok("start", "c")
	if data, err := os.ReadFile(at); err != nil || string(data) != "up\n" {
		t.Fatalf("%q, %v", data, err)
	}
	want(t, "status", p.status("c"), "running")
	p.fails(1, "cannot start an already running container", "start", "c")
	p.fails(1, "that is not stopped", "delete", "c")
	pid, err := os.ReadFile(pidFile)
	testutil.Must(t, err)
	if got := strings.Fields(p.ok("ps", "--format", "json", "c")); !slicesContain(got, string(pid)) {
		t.Errorf("pid %s is not in %v", pid, got)
	}
	p.ok("pause", "c")
	want(t, "status", p.status("c"), "paused")
	p.fails(255, "paused container", "exec", "c", "true")
	p.ok("resume", "c")
	p.ok("update", "--pids-limit", "50", "c")
	p.ok("kill", "c", "KILL")
	p.awaitEnd(string(pid))
	want(t, "status", p.status("c"), "stopped")
	p.fails(1, "container not running", "kill", "c")
	p.ok("kill", "--all", "c", "9")
	p.fails(1, "cannot start a container that has stopped", "start", "c")
	p.ok("delete", "c")
	p.fails(1, "does not exist", "state", "c")
	p.fails(1, "does not exist", "delete", "c")
	p.ok("delete", "--force", "c")
}

func slicesContain(list []string, s string) bool { return strings.Contains(strings.Join(list, " "), s) }

// awaitEnd waits for the end of a process that is nobody's child here.
func (p *place) awaitEnd(pid string) {
	p.t.Helper()
	n, err := strconv.Atoi(pid)
	testutil.Must(p.t, err)
	awaitProcess(p.t, n)
}

func TestFailureOfExecveReachesStart(t *testing.T) {
	p := newPlace(t)
	testutil.Must(t, os.WriteFile(filepath.Join(p.bundle, "rootfs", "file"), nil, 0o644))
	p.spec.Process.Args = []string{"/file"}
	p.write()
	p.ok("create", "c")
	p.fails(1, "execute /file: permission denied", "start", "c")
	want(t, "status", p.status("c"), "stopped")
	p.ok("delete", "c")
	p.fails(1, "execute /file: permission denied", "run", "d")
	p.fails(1, "does not exist", "state", "d")
}

func TestMissingCommandIsRefusedByCreate(t *testing.T) {
	p := newPlace(t)
	for command, text := range map[string]string{"/no/such": "execute /no/such", "nosuch": "find command \\\"nosuch\\\" in the container's PATH", "/file/x": "execute /file/x"} {
		p.spec.Process.Args = []string{command}
		p.write()
		p.fails(1, text, "create", "c")
		p.fails(1, "does not exist", "state", "c")
	}
}

func TestBadInputHasNoEffect(t *testing.T) {
	p := newPlace(t)
	p.shell("true")
	p.write()
	p.fails(1, "invalid id format", "create", "../x")
	p.fails(1, "config.json not found", "create", "--bundle", "/", "c")
	p.spec.Process.Cwd = "relative"
	p.write()
	p.fails(1, "process.cwd", "create", "c")
	p.fails(1, "does not exist", "state", "c")
	p.fails(1, "unknown signal", "kill", "c", "NOSUCH")
	p.fails(1, "unknown log-format", "--log-format", "xml", "state", "c")
}

func TestLogIsWhatCallersParse(t *testing.T) {
	p := newPlace(t)
	log := filepath.Join(t.TempDir(), "log")
	p.fails(1, "does not exist", "--log", log, "--log-format", "json", "state", "nobody")
	data, err := os.ReadFile(log)
	testutil.Must(t, err)
	list := jsonLines(t, data)
	if len(list) != 1 || list[0]["level"] != "error" || list[0]["msg"] != `container "nobody" does not exist` || list[0]["time"] == nil {
		t.Errorf("log %s", data)
	}
}

// A create that is killed at any moment leaves what delete --force takes away.
func TestKilledCreateIsDeleted(t *testing.T) {
	p := newPlace(t)
	p.shell("exec sleep 1000")
	p.write()
	const tries, step = 40, 500 * time.Microsecond
	for i := range tries {
		cmd := p.command("create", "c")
		testutil.Must(t, cmd.Start())
		kill := time.AfterFunc(time.Duration(i)*step, func() { _ = cmd.Process.Kill() }) // it may have ended
		_ = cmd.Wait()                                                                   // killed or not: both are tried
		kill.Stop()
		p.ok("delete", "--force", "c")
		if left, err := filepath.Glob("/sys/fs/cgroup/*" + p.spec.Linux.CgroupsPath); err != nil || len(left) > 0 {
			t.Fatalf("killed after %v: %v, %v are left", time.Duration(i)*step, left, err)
		}
		if _, err := os.Stat(filepath.Join(p.root, "c")); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("killed after %v: the folder is left: %v", time.Duration(i)*step, err)
		}
	}
}

func TestBrokenRecord(t *testing.T) {
	p := newPlace(t)
	testutil.Must(t, os.MkdirAll(filepath.Join(p.root, "c"), 0o700))
	testutil.Must(t, os.WriteFile(filepath.Join(p.root, "c", "state.json"), []byte(`{"version":1,"id":"c","pid":1}`), 0o600))
	p.fails(1, "read record of container c", "state", "c")
	p.fails(1, "read record of container c", "delete", "c")
	p.ok("delete", "--force", "c")
}

func TestPreservedDescriptors(t *testing.T) {
	p := newPlace(t)
	p.shell("ls /proc/self/fd | wc -l; cat <&3; cat <&4; echo $LISTEN_FDS")
	p.write()
	cmd := p.command("run", "--preserve-fds", "2", "c")
	for _, text := range []string{"three\n", "four\n"} {
		name := filepath.Join(t.TempDir(), "f")
		testutil.Must(t, os.WriteFile(name, []byte(text), 0o600))
		f, err := os.Open(name)
		testutil.Must(t, err)
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	r := p.finish(cmd)
	if got := lines(r.stdout); len(got) < 3 || got[0] != "6" || got[1] != "three" || got[2] != "four" {
		t.Errorf("%+v", r)
	}
	p.fails(1, "descriptor 3 of the 1 to preserve", "run", "--preserve-fds", "1", "d")
}

func awaitProcess(t *testing.T, pid int) {
	t.Helper()
	f, err := sys.PidfdOpen(pid)
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL) {
		return
	}
	testutil.Must(t, err)
	testutil.Must(t, errors.Join(sys.AwaitPidfd(t.Context(), f), f.Close()))
}

// A limit of old bundles that Linux has no longer is told of, and nothing else is made of it.
func TestKernelMemoryIsIgnored(t *testing.T) {
	p := newPlace(t)
	p.spec.Process.Args = []string{"true"}
	//lint:ignore SA1019 old bundles use the deprecated field
	p.spec.Linux.Resources.Memory = &specs.LinuxMemory{Kernel: new(int64(1 << 20))}
	p.write()
	if r := p.call("run", "c"); r.code != 0 || !strings.Contains(r.stderr, "level=warning") || !strings.Contains(r.stderr, "linux.resources.memory.kernel is ignored") {
		t.Errorf("%+v", r)
	}
}

// lo is up in a network namespace of the container's own, whoever owns it.
func TestLoopback(t *testing.T) {
	p := newPlace(t)
	p.shell("cat /proc/net/fib_trie")
	p.write()
	if r := p.call("run", "c"); r.code != 0 || !strings.Contains(r.stdout, "127.0.0.1") {
		t.Errorf("%+v", r)
	}
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 65536}}
	p.spec.Linux.Namespaces = append(p.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	p.spec.Linux.UIDMappings, p.spec.Linux.GIDMappings = ids, ids
	p.write()
	if r := p.call("run", "c"); r.code != 0 || !strings.Contains(r.stdout, "127.0.0.1") {
		t.Errorf("in a user namespace: %+v", r)
	}
}
