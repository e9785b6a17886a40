package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestExec(t *testing.T) {
	p := newPlace(t)
	p.spec.Process.Args = []string{"sleep", "1000"}
	p.write()
	p.ok("create", "c")
	p.ok("start", "c")
	want(t, "output", p.ok("exec", "-e", "A=b", "--cwd", "/usr", "-u", "5:6", "-g", "7", "c", "sh", "-c", "echo $A $PWD $(id -u) $(id -g) $(id -G)"), "b /usr 5 6 6 7\n")
	p.fails(3, "", "exec", "c", "sh", "-c", "exit 3")
	p.fails(255, "exec failed", "exec", "c", "/no/such")
	p.fails(255, "--user", "exec", "-u", "4294967296", "c", "true")
	p.fails(255, "--user", "exec", "-u", "root", "c", "true")
	p.fails(255, "process args cannot be empty", "exec", "c")
	p.fails(255, "needs --console-socket", "exec", "-d", "-t", "c", "true")
	p.fails(255, "process.terminal: false", "exec", "-d", "--console-socket", "/no/such", "c", "true")
	file := filepath.Join(t.TempDir(), "process.json")
	process := *p.spec.Process
	process.Args, process.Cwd = []string{"sh", "-c", "pwd"}, "/tmp"
	data, err := json.Marshal(process)
	testutil.Must(t, err)
	testutil.Must(t, os.WriteFile(file, data, 0o600))
	want(t, "from a file", p.ok("exec", "--process", file, "c"), "/tmp\n")
	pidFile := filepath.Join(t.TempDir(), "pid")
	p.ok("exec", "-d", "--pid-file", pidFile, "c", "sleep", "1000")
	pid, err := os.ReadFile(pidFile)
	testutil.Must(t, err)
	if list := p.ok("ps", "-f", "json", "c"); !strings.Contains(list, string(pid)) {
		t.Errorf("pid %s is not in %s", pid, list)
	}
	if table := p.ok("ps", "c"); len(lines(table)) != 3 {
		t.Errorf("table %q", table)
	}
	p.fails(1, "Usage", "ps", "c", "--no-such") // procps and BusyBox say it
	stats := jsonLines(t, []byte(p.ok("events", "--stats", "c")))
	if len(stats) != 1 || stats[0]["type"] != "stats" || stats[0]["id"] != "c" {
		t.Errorf("stats %v", stats)
	}
}

// A signal that comes before the process is there reaches it.
func TestExecKeepsSignalsForTheProcess(t *testing.T) {
	p := newPlace(t)
	p.spec.Process.Args = []string{"sleep", "1000"}
	p.write()
	p.ok("run", "-d", "c")
	file := p.fifo("process.json")
	cmd := p.command("exec", "--process", file, "c")
	testutil.Must(t, cmd.Start())
	to, err := os.OpenFile(file, os.O_WRONLY, 0) // when exec has it open
	testutil.Must(t, err)
	testutil.Must(t, cmd.Process.Signal(syscall.SIGTERM))
	testutil.Must(t, errors.Join(json.NewEncoder(to).Encode(p.spec.Process), to.Close()))
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("%v, want the process's end by SIGTERM", err)
	}
}

// socket listens as conmon does, and returns what receives one descriptor.
func socket(t *testing.T) (path string, receive func() *os.File) {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, os.RemoveAll(dir)) })
	path = filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	testutil.Must(t, err)
	t.Cleanup(func() { l.Close() })
	return path, func() *os.File {
		t.Helper()
		c, err := l.AcceptUnix()
		testutil.Must(t, err)
		defer c.Close()
		text, oob := make([]byte, 4096), make([]byte, 64)
		_, n, _, _, err := c.ReadMsgUnix(text, oob)
		testutil.Must(t, err)
		messages, err := syscall.ParseSocketControlMessage(oob[:n])
		testutil.Must(t, err)
		fds, err := syscall.ParseUnixRights(&messages[0])
		testutil.Must(t, err)
		return os.NewFile(uintptr(fds[0]), "received")
	}
}

func TestConsoleSocket(t *testing.T) {
	p := newPlace(t)
	p.spec.Process.Terminal = true
	p.shell("tty; read line; echo got $line; exit 4")
	p.write()
	path, receive := socket(t)
	p.ok("create", "--console-socket", path, "c")
	master := receive()
	defer master.Close()
	p.ok("start", "c")
	_, err := master.WriteString("hello\n")
	testutil.Must(t, err)
	var out strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := master.Read(buf)
		out.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if s := out.String(); !strings.Contains(s, "/dev/pts/0") || !strings.Contains(s, "got hello") {
		t.Errorf("terminal said %q", s)
	}
	p.fails(1, "cannot allocate tty", "run", "-d", "d")
	p.fails(1, "cannot allocate tty", "create", "d")
	p.spec.Process.Terminal = false
	p.write()
	p.fails(1, "cannot use console socket", "create", "--console-socket", path, "d")
}

func TestPidfdSocket(t *testing.T) {
	p := newPlace(t)
	p.spec.Process.Args = []string{"sleep", "1000"}
	p.write()
	path, receive := socket(t)
	p.ok("run", "-d", "--pidfd-socket", path, "c")
	pidfd := receive()
	defer pidfd.Close()
	if link, err := os.Readlink("/proc/self/fd/" + fdName(pidfd)); err != nil || !strings.Contains(link, "pidfd") {
		t.Errorf("received %s, %v", link, err)
	}
}

func fdName(f *os.File) string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(link, "pidfd") {
			return e.Name()
		}
	}
	return f.Name()
}

// An exec whose caller can't be told of the process leaves none.
func TestExecFailsLate(t *testing.T) {
	p := newPlace(t)
	p.spec.Process.Args = []string{"sleep", "1000"}
	p.write()
	p.ok("create", "c")
	p.ok("start", "c")
	p.fails(255, "write pid file", "exec", "-d", "--pid-file", "/no/such/file", "c", "sleep", "1000")
	p.fails(255, "send the pidfd", "exec", "-d", "--pidfd-socket", "/no/such/socket", "c", "sleep", "1000")
	var pids []int
	testutil.Must(t, json.Unmarshal([]byte(p.ok("ps", "-f", "json", "c")), &pids))
	if len(pids) != 1 {
		t.Errorf("processes %v, want the container's own alone", pids)
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "-1": -1, "10": 10, "1k": 1024, "2M": 2 << 20, "3gb": 3 << 30, "1GiB": 1 << 30, "1t": 1 << 40} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "k", "-2", "-1k", "1x", "9999999999g", "0x10", "1 2"} {
		if got, err := parseBytes(text); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestExecFlagsMakeAProcess(t *testing.T) {
	base := exampleSpec()
	e := execFlags{args: []string{"x"}, caps: []string{"CAP_NET_ADMIN"}, tty: true, noNewPrivs: true}
	got, err := e.process(base)
	testutil.Must(t, err)
	if !got.Terminal || got.Args[0] != "x" || got.Capabilities.Effective[3] != "CAP_NET_ADMIN" || len(base.Process.Capabilities.Effective) != 3 {
		t.Errorf("%+v; the container's own %v", got, base.Process.Capabilities.Effective)
	}
	var none specs.Process
	base.Process = &none
	if got, err := (&execFlags{args: []string{"x"}, caps: []string{"CAP_KILL"}}).process(base); err != nil || len(got.Capabilities.Bounding) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A container's seccomp profile holds for its process and for all that is exec'd in it.
func TestSeccomp(t *testing.T) {
	p := newPlace(t)
	errno := uint(syscall.EXDEV)
	p.spec.Process.Args = []string{"sleep", "1000"}
	p.spec.Linux.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow,
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActErrno, ErrnoRet: &errno}},
	}
	p.write()
	p.ok("create", "c")
	p.ok("start", "c")
	p.fails(1, "cross-device", "exec", "c", "sh", "-c", "LC_ALL=C mkdir /tmp/x 2>&1 | tr A-Z a-z >&2; ! test -e /tmp/x || exit 9; exit 1")
	if status, err := os.ReadFile("/proc/" + strings.TrimSpace(lines(p.ok("ps", "-f", "json", "c"))[1]) + "/status"); err != nil || !strings.Contains(string(status), "Seccomp:\t2") {
		t.Errorf("no filter: %v", err)
	}
}

// The listener of a filter goes to the profile's agent, once for the container and once for each exec.
func TestSeccompListener(t *testing.T) {
	p := newPlace(t)
	path, receive := socket(t)
	p.spec.Process.Args = []string{"sleep", "1000"}
	p.spec.Linux.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, ListenerPath: path, ListenerMetadata: "m",
		Syscalls: []specs.LinuxSyscall{{Names: []string{"swapon"}, Action: specs.ActNotify}},
	}
	p.write()
	for _, args := range [][]string{{"run", "-d", "c"}, {"exec", "c", "true"}} {
		p.ok(args...)
		f := receive()
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err := errors.Join(err, f.Close()); err != nil || !strings.Contains(link, "seccomp notify") {
			t.Errorf("%v: received %s, %v", args, link, err)
		}
	}
}

// A container may divide its group, as systemd does in one that is its own. On cgroup v2 the group can hold no process then, and what
// is exec'd joins the first process.
func TestExecBesideGroups(t *testing.T) {
	p := newPlace(t)
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		testutil.Skip(t, "control groups are not those of v2 alone")
	}
	for i, m := range p.spec.Mounts {
		if m.Type == "cgroup" {
			p.spec.Mounts[i].Options = []string{"rw"}
		}
	}
	at := p.fifo("told")
	p.shell(`cd /sys/fs/cgroup && mkdir -p own/first && echo 1 >own/first/cgroup.procs && echo +memory +pids >cgroup.subtree_control &&
		echo divided >/told || echo failed >/told; exec sleep 1000`)
	p.write()
	p.ok("create", "c")
	p.ok("start", "c")
	data, err := os.ReadFile(at)
	testutil.Must(t, err)
	want(t, "the container", string(data), "divided\n")
	want(t, "exec", p.ok("exec", "c", "cat", "/proc/self/cgroup"), "0::/own/first\n")
	want(t, "exec in a group of its own", p.ok("exec", "--cgroup", "second", "c", "cat", "/proc/self/cgroup"), "0::/second\n")
	p.ok("delete", "--force", "c")
}
