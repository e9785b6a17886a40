package fork_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/runtime/fork"
)

// serverName is what a server process calls itself, and what its children are called until their execve.
const serverName = "berth-fork"

func servers(t *testing.T, n int) *fork.Servers {
	t.Helper()
	s := fork.NewServers(n)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
			t.Errorf("a child is left: %v", err)
		}
	})
	return s
}

// introduce makes a program begin with writing who runs it, and how much memory it has, to stdout.
func introduce(b *fork.Builder) {
	for _, name := range []string{"comm", "statm"} {
		f := b.Call("open "+name, unix.SYS_OPENAT, fork.Int(unix.AT_FDCWD), b.Str("/proc/self/"+name), fork.Imm(unix.O_RDONLY)).Result()
		buf := b.Bytes(make([]byte, 256))
		n := b.Call("read "+name, unix.SYS_READ, f, buf, fork.Imm(256)).Result()
		b.Call("write "+name, unix.SYS_WRITE, b.Stdio(1), buf, n)
	}
}

func TestServersCloneSmallChildrenOfTheLauncher(t *testing.T) {
	b := fork.NewBuilder()
	introduce(b)
	shell(b, "echo $PPID; exit 7")
	p := program(t, b)
	s := servers(t, 1)
	for range 3 {
		status, out := run(t, p, fork.Options{Servers: s})
		lines := strings.Split(out, "\n")
		if status != 7 || len(lines) < 3 || lines[0] != serverName || lines[2] != strconv.Itoa(os.Getpid()) {
			t.Fatalf("status %d, output %q", status, out)
		}
		var size, resident int
		if _, err := fmt.Sscan(lines[1], &size, &resident); err != nil || size*os.Getpagesize() > 64<<20 || resident*os.Getpagesize() > 1<<20 {
			t.Errorf("pages of the child in all and in memory: %s, %v", lines[1], err)
		}
	}
}

// What a child gets must not depend on who clones it.
func TestServersGiveTheSameChildren(t *testing.T) {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGUSR1)
	defer signal.Reset(syscall.SIGPIPE, syscall.SIGUSR1)
	secret, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	if _, err := unix.FcntlInt(secret.Fd(), unix.F_SETFD, 0); err != nil { // not close-on-exec
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		build   func(b *fork.Builder)
		options fork.Options
	}{
		{"signals, limits, credentials", func(b *fork.Builder) {
			shell(b, "grep -E '^(Sig...|Cap...|Uid|Gid|Groups|NoNewPrivs|Seccomp|Umask|NSpid):' /proc/self/status | grep -v -e NSpid -e SigQ; cat /proc/self/limits /proc/self/oom_score_adj /proc/self/timerslack_ns")
		}, fork.Options{}},
		{"descriptors", func(b *fork.Builder) { shell(b, "for f in /proc/self/fd/*; do echo ${f##*/}; done") }, fork.Options{}},
		{"namespaces", func(b *fork.Builder) {
			b.Call("set the host name", unix.SYS_SETHOSTNAME, b.Str("inside"), fork.Imm(6))
			shell(b, "cat /proc/sys/kernel/hostname; echo $$")
		}, fork.Options{Flags: someNamespaces}},
		{"second clone", func(b *fork.Builder) {
			b.Clone("clone again", unix.CLONE_NEWPID)
			shell(b, "echo $$; exit 3")
		}, fork.Options{}},
		{"checkpoint", func(b *fork.Builder) {
			b.Checkpoint("wait", 1, fork.Imm(5))
			shell(b, "echo on")
		}, fork.Options{Checkpoint: func(c fork.Checkpoint) error {
			if c.Value != 5 {
				return fmt.Errorf("value %d", c.Value)
			}
			return nil
		}}},
		{"too large for a server", func(b *fork.Builder) {
			env := []string{"A=" + strings.Repeat("a", 100_000), "B=" + strings.Repeat("b", 100_000), "PATH=/bin:/usr/bin"}
			b.Call("set stdout", unix.SYS_DUP3, b.Stdio(1), fork.Imm(1), fork.Imm(0))
			b.Call("execute sh", unix.SYS_EXECVE, b.Str("/bin/sh"), b.Argv([]string{"sh", "-c", "echo ${#A} ${#B}"}), b.Argv(env))
		}, fork.Options{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := fork.NewBuilder()
			tt.build(b)
			p := program(t, b)
			wantStatus, want := run(t, p, tt.options)
			o := tt.options
			o.Servers = servers(t, 1)
			if status, got := run(t, p, o); status != wantStatus || got != want || want == "" {
				t.Errorf("status %d, want %d; output\n%s\nwant\n%s", status, wantStatus, got, want)
			}
		})
	}
}

func TestServersReportFailures(t *testing.T) {
	s := servers(t, 1)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	start := func(o fork.Options, path string) error {
		b := fork.NewBuilder()
		b.Call("execute "+path, unix.SYS_EXECVE, b.Str(path), b.Argv([]string{"x"}), b.Argv(nil))
		o.Servers = s
		o.Stdio, _ = stdio(t)
		c, err := fork.Start(program(t, b), o)
		if err == nil {
			end(t, c)
		}
		return err
	}
	tests := []struct {
		name, path string
		o          fork.Options
		want       *fork.StepError
	}{
		{"execve", "/no/such", fork.Options{}, &fork.StepError{Step: "execute /no/such", Errno: unix.ENOENT}},
		{"PID namespace", "/bin/true", fork.Options{PIDNS: null}, &fork.StepError{Step: "join the PID namespace", Errno: unix.EINVAL}},
		{"cgroup", "/bin/true", fork.Options{Cgroup: null}, &fork.StepError{Step: "clone a process", Errno: unix.EBADF}},
		{"nothing, after all these", "/bin/true", fork.Options{}, nil},
	}
	for _, tt := range tests {
		err := start(tt.o, tt.path)
		var step *fork.StepError
		if errors.As(err, &step); (step == nil) != (tt.want == nil) || step != nil && *step != *tt.want || step == nil && err != nil {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestServersJoinAPIDNamespaceForOneStart(t *testing.T) {
	s := servers(t, 1)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(int(r.Fd()), false); err != nil { // cat does not wait for EAGAIN
		t.Fatal(err)
	}
	b := fork.NewBuilder()
	b.Call("set stdin", unix.SYS_DUP3, b.Stdio(0), fork.Imm(0), fork.Imm(0))
	b.Call("execute cat", unix.SYS_EXECVE, b.Str("/bin/cat"), b.Argv([]string{"cat"}), b.Argv(nil))
	first, err := fork.Start(program(t, b), fork.Options{Flags: unix.CLONE_NEWPID, Stdio: [3]*os.File{r}, Servers: s})
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer end(t, first)
	defer w.Close()
	b = fork.NewBuilder()
	introduce(b)
	shell(b, "echo $$")
	p := program(t, b)
	pid := func(o fork.Options) string {
		_, out := run(t, p, o)
		lines := strings.Split(out, "\n")
		if len(lines) < 3 || lines[0] != serverName {
			t.Fatalf("output %q", out)
		}
		return lines[2]
	}
	if got := pid(fork.Options{Servers: s, PIDNS: first.Pidfd}); got != "2" {
		t.Errorf("process %s of the namespace, want 2", got)
	}
	if got := pid(fork.Options{Servers: s}); len(got) < 2 {
		t.Errorf("a later start was born in the joined namespace: %s", got)
	}
}

// serverPIDs lists the server processes of a launcher.
func serverPIDs(t *testing.T, launcher int) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		var pid, parent int
		var name, state string
		if _, err := fmt.Sscan(string(data), &pid, &name, &state, &parent); err == nil && name == "("+serverName+")" && parent == launcher {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestServersThatEndAreReplaced(t *testing.T) {
	b := fork.NewBuilder()
	introduce(b)
	shell(b, "exit 0")
	p := program(t, b)
	s := servers(t, 1)
	clone := func() {
		t.Helper()
		if status, out := run(t, p, fork.Options{Servers: s}); status != 0 || out == "" {
			t.Fatalf("status %d, output %q", status, out)
		}
	}
	clone()
	pids := serverPIDs(t, os.Getpid())
	if len(pids) != 1 {
		t.Fatalf("servers: %v", pids)
	}
	if err := unix.Kill(pids[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, pids[0], nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	clone() // by itself
	clone()
	if again := serverPIDs(t, os.Getpid()); len(again) != 1 || again[0] == pids[0] {
		t.Errorf("servers after the first was killed: %v", again)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left := serverPIDs(t, os.Getpid()); len(left) > 0 {
		t.Errorf("servers after Close: %v", left)
	}
	clone()
}

func TestServersAtOnce(t *testing.T) {
	s := servers(t, 2)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			b := fork.NewBuilder()
			shell(b, fmt.Sprintf("echo %d; exit %d", i, i))
			if status, out := run(t, program(t, b), fork.Options{Flags: someNamespaces, Servers: s}); status != i || out != fmt.Sprintln(i) {
				t.Errorf("start %d: status %d, output %q", i, status, out)
			}
		})
	}
	wg.Wait()
}

const envLauncher = "BERTH_TEST_LAUNCHER"

// TestServersEndWithTheLauncher kills a launcher, and sees that its server ends: the only end of the pipe that is left is closed.
func TestServersEndWithTheLauncher(t *testing.T) {
	if os.Getenv(envLauncher) != "" {
		becomeLauncher(t)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServersEndWithTheLauncher$")
	cmd.Env = append(os.Environ(), envLauncher+"=1")
	cmd.Stdin = w // a server keeps stdin
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ready := make([]byte, 5)
	if _, err := io.ReadFull(stdout, ready); err != nil || !bytes.Equal(ready, []byte("ready")) {
		t.Fatalf("%q, %v", ready, err)
	}
	if pids := serverPIDs(t, cmd.Process.Pid); len(pids) != 1 {
		t.Errorf("servers: %v", pids)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(ready); err != io.EOF {
		t.Errorf("the server's stdin: %v", err)
	}
	_ = cmd.Wait() // it was killed
}

func becomeLauncher(t *testing.T) {
	b := fork.NewBuilder()
	shell(b, "exit 0")
	c, err := fork.Start(program(t, b), fork.Options{Stdio: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}, Servers: fork.NewServers(1)})
	if err != nil {
		t.Fatal(err)
	}
	end(t, c)
	fmt.Print("ready")
	for { // not select{}, which the Go runtime takes for a deadlock where there is no C library
		_ = unix.Pause()
	}
}
