package fork_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/fork"
)

// secondChild builds a program that joins a user namespace and goes on in a second process: what Clone is for.
func secondChild(b *fork.Builder, userns *os.File, flags uint64) {
	if userns != nil {
		b.Call("join the user namespace", unix.SYS_SETNS, b.File(userns), fork.Imm(unix.CLONE_NEWUSER))
	}
	b.Clone("clone the second process", flags)
}

// holdUserns returns a new user namespace in which root is this root.
func holdUserns(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := syscall.SetNonblock(int(r.Fd()), false); err != nil {
		t.Fatal(err)
	}
	b := fork.NewBuilder()
	b.Call("wait", unix.SYS_READ, b.File(r), b.Bytes(make([]byte, 8)), fork.Imm(1))
	b.Call("execute nothing", unix.SYS_EXECVE, b.Str(""), b.Argv(nil), b.Argv(nil))
	var ns *os.File
	stop := errors.New("stop")
	_, err = fork.Start(program(t, b), fork.Options{Flags: unix.CLONE_NEWUSER, Forked: func(c fork.Child) error {
		dir := fmt.Sprintf("/proc/%d/", c.PID)
		for _, name := range []string{"uid_map", "gid_map"} {
			if err := os.WriteFile(dir+name, []byte("0 100000 65536"), 0); err != nil {
				return err
			}
		}
		if ns, err = os.Open(dir + "ns/user"); err != nil {
			return err
		}
		return stop
	}})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	return ns
}

func TestClone(t *testing.T) {
	b := fork.NewBuilder()
	secondChild(b, holdUserns(t), someNamespaces)
	b.Call("set group", unix.SYS_SETRESGID, fork.Imm(0), fork.Imm(0), fork.Imm(0))
	b.Call("set user", unix.SYS_SETRESUID, fork.Imm(0), fork.Imm(0), fork.Imm(0))
	b.Call("set the host name", unix.SYS_SETHOSTNAME, b.Str("inside"), fork.Imm(6))
	b.Call("mount proc", unix.SYS_MOUNT, b.Str("proc"), b.Str("/proc"), b.Str("proc"), fork.Imm(0), fork.Null())
	shell(b, `cat /proc/sys/kernel/hostname; echo $$; id -u; read a b c </proc/self/uid_map; echo $a $b $c; exit 7`)
	p := program(t, b)
	var forked int
	for range 2 {
		files, out := stdio(t)
		c, err := fork.Start(p, fork.Options{Stdio: files, Forked: func(c fork.Child) error { forked = c.PID; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		if c.PID != forked {
			t.Errorf("process %d was started, Forked told of %d", c.PID, forked)
		}
		if status := end(t, c); status != 7 || out() != "inside\n1\n0\n0 100000 65536\n" {
			t.Errorf("status %d, output %q", status, out())
		}
	}
	noChild(t)
}

func noChild(t *testing.T) {
	t.Helper()
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("child %d is left: %v", pid, err)
	}
}

func TestCloneErrors(t *testing.T) {
	fail := func(b *fork.Builder) {
		b.Call("change to /no/such", unix.SYS_CHDIR, b.Str("/no/such"))
	}
	for name, build := range map[string]func(*fork.Builder){
		"before": func(b *fork.Builder) { fail(b); secondChild(b, nil, 0); shell(b, "exit 0") },
		"after":  func(b *fork.Builder) { secondChild(b, nil, someNamespaces); fail(b); shell(b, "exit 0") },
	} {
		t.Run(name, func(t *testing.T) {
			b := fork.NewBuilder()
			build(b)
			p := program(t, b)
			for range 50 { // the reports of the two processes come in either order
				files, _ := stdio(t)
				_, err := fork.Start(p, fork.Options{Stdio: files})
				var step *fork.StepError
				if !errors.As(err, &step) || *step != (fork.StepError{Step: "change to /no/such", Errno: unix.ENOENT}) {
					t.Fatalf("got %v", err)
				}
				noChild(t)
			}
		})
	}
	t.Run("refused by Forked", func(t *testing.T) {
		b := fork.NewBuilder()
		secondChild(b, nil, unix.CLONE_NEWPID)
		shell(b, "sleep 1000")
		files, _ := stdio(t)
		refused := errors.New("refused")
		_, err := fork.Start(program(t, b), fork.Options{Stdio: files, Forked: func(fork.Child) error { return refused }})
		if !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
		noChild(t)
	})
	t.Run("killed before", func(t *testing.T) {
		b := fork.NewBuilder()
		b.Call("set a limit of file size", unix.SYS_PRLIMIT64, fork.Imm(0), fork.Imm(unix.RLIMIT_FSIZE), b.Bytes(make([]byte, 16)), fork.Null())
		f, err := os.Create(t.TempDir() + "/file")
		if err != nil {
			t.Fatal(err)
		}
		b.Call("write beyond the limit", unix.SYS_WRITE, b.File(f), b.Str("x"), fork.Imm(1)) // SIGXFSZ
		secondChild(b, nil, 0)
		shell(b, "exit 0")
		files, _ := stdio(t)
		c, err := fork.Start(program(t, b), fork.Options{Stdio: files})
		if err != nil {
			t.Fatal(err)
		}
		if status := end(t, c); status != int(unix.SIGXFSZ) {
			t.Errorf("ended with %d", status)
		}
		noChild(t)
	})
}

func TestCloneRefused(t *testing.T) {
	own, err := os.Open("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	b := fork.NewBuilder()
	secondChild(b, nil, 0)
	shell(b, "exit 0")
	if _, err := fork.Start(program(t, b), fork.Options{PIDNS: own}); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("with a PID namespace to join: %v", err)
	}
	for name, build := range map[string]func(*fork.Builder){
		"twice":     func(b *fork.Builder) { secondChild(b, nil, 0); secondChild(b, nil, 0) },
		"CLONE_VM":  func(b *fork.Builder) { secondChild(b, nil, unix.CLONE_VM) },
		"structure": func(b *fork.Builder) { b.Call("clone", unix.SYS_CLONE3, b.Bytes(make([]byte, 88)), fork.Imm(88)) },
		"ignored":   func(b *fork.Builder) { b.Clone("clone", 0).Ignore(unix.EPERM) },
	} {
		b := fork.NewBuilder()
		build(b)
		shell(b, "exit 0")
		if _, err := b.Program(); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestManyClonesAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			b := fork.NewBuilder()
			secondChild(b, nil, someNamespaces)
			shell(b, fmt.Sprintf("echo $$; exit %d", i))
			if status, out := run(t, program(t, b), fork.Options{}); status != i || out != "1\n" {
				t.Errorf("start %d: status %d, output %q", i, status, out)
			}
		})
	}
	wg.Wait()
	noChild(t)
}
