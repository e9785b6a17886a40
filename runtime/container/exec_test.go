package container_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/fork"
)

// running starts a container that stays.
func (n *node) running(t testing.TB, change func(*trial)) *trial {
	t.Helper()
	tr := n.newTrial(t, "loop")
	if change != nil {
		change(tr)
	}
	testutil.Must(t, tr.start())
	tr.awaitOutput("loop")
	return tr
}

func TestExec(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.running(t, func(tr *trial) {
		score := 300
		tr.spec.Process.OOMScoreAdj = &score
	})

	t.Run("is in the container", func(t *testing.T) {
		out, exit, err := tr.exec(func(p *specs.Process) { p.Cwd = "/work" },
			"cwd", "pid", "host", "ids", "fds", "cat:/proc/self/oom_score_adj", "cat:/proc/1/cmdline", "cat:/proc/self/cgroup", "cat:/proc/self/mountinfo", "ls:/proc/acpi", "status")
		testutil.Must(t, err)
		if exit.Code != 0 || !exit.Known {
			t.Errorf("exit %+v", exit)
		}
		want(t, out, "cwd /work", "host probe-host", "ids 0 0 0 0 []", "300")
		wantNot(t, out, "error", "pid 1 ", "fd 3")
		for _, p := range mountPoints(out) {
			if !slices.ContainsFunc([]string{"/proc", "/sys", "/dev"}, func(d string) bool { return strings.HasPrefix(p, d) }) && p != "/" {
				t.Errorf("mount on %s", p)
			}
		}
		if sets := statusSets(t, out); sets["CapBnd"] != 0xa80425fb || sets["CapEff"] != 0xa80425fb {
			t.Errorf("capabilities %x", sets)
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, ":memory:") && !strings.HasSuffix(line, ":/\n") {
				t.Errorf("memory is accounted to %s", line)
			}
		}
	})
	t.Run("with another identity", func(t *testing.T) {
		out, _, err := tr.exec(func(p *specs.Process) {
			p.User = specs.User{UID: 33, GID: 44, AdditionalGids: []uint32{55}}
			p.Capabilities = nil
			p.NoNewPrivileges = true
		}, "ids", "status", "touch:/etc/x")
		testutil.Must(t, err)
		want(t, out, "ids 33 44 33 44 [55]", "NoNewPrivs:\t1")
		for name, v := range statusSets(t, out) {
			if v != 0 {
				t.Errorf("%s is %x", name, v)
			}
		}
	})
	t.Run("exit codes", func(t *testing.T) {
		_, exit, err := tr.exec(nil, "exit:42")
		testutil.Must(t, err)
		if exit.Code != 42 || exit.Signal != 0 || !exit.Known {
			t.Errorf("exit %+v", exit)
		}
	})
	t.Run("stdin", func(t *testing.T) {
		r, w, err := os.Pipe()
		testutil.Must(t, err)
		_, err = w.WriteString("hello\n")
		testutil.Must(t, err)
		outR, outW, err := os.Pipe()
		testutil.Must(t, err)
		p := *tr.spec.Process
		p.Args = []string{"/bin/probe", "line", "stderr:to stderr"}
		e, err := n.Exec(bg(), tr.id, container.ExecOptions{Process: &p, Stdin: r, Stdout: outW, Stderr: outW})
		testutil.Must(t, err)
		testutil.Must(t, errors.Join(r.Close(), outW.Close(), w.Close()))
		out, err := io.ReadAll(outR)
		testutil.Must(t, err)
		want(t, string(out), `line "hello\n"`, "to stderr")
		_, err = e.Wait(bg())
		testutil.Must(t, errors.Join(err, outR.Close(), e.Close()))
	})
	t.Run("command not found", func(t *testing.T) {
		_, _, err := tr.exec(func(p *specs.Process) { p.Args = []string{"nothing"} })
		var step *fork.StepError
		if !errors.As(err, &step) || !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), `find command "nothing"`) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("bad requests", func(t *testing.T) {
		for name, change := range map[string]func(*specs.Process){
			"no command": func(p *specs.Process) { p.Args = nil },
			"capability": func(p *specs.Process) { p.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_X"}} },
			"user":       func(p *specs.Process) { p.User.UID = ^uint32(0) },
		} {
			if _, _, err := tr.exec(change); !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, _, err := tr.exec(func(p *specs.Process) { p.SelinuxLabel = "x" }, "ids"); !errors.Is(err, errdefs.ErrNotSupported) {
			t.Errorf("label: %v", err)
		}
		if _, err := n.Exec(bg(), "nobody", container.ExecOptions{Process: tr.spec.Process}); !errors.Is(err, errdefs.ErrNotFound) {
			t.Errorf("unknown container: %v", err)
		}
	})
	t.Run("kill takes all that it started", func(t *testing.T) {
		p := *tr.spec.Process
		p.Args = []string{"/bin/probe", "orphan", "forks:3", "loop"}
		r, w, err := os.Pipe()
		testutil.Must(t, err)
		e, err := n.Exec(bg(), tr.id, container.ExecOptions{Process: &p, Stdout: w})
		testutil.Must(t, errors.Join(err, w.Close()))
		buf := make([]byte, 0, 1024)
		for !strings.Contains(string(buf), "loop") {
			chunk := make([]byte, 256)
			k, err := r.Read(chunk)
			testutil.Must(t, err)
			buf = append(buf, chunk[:k]...)
		}
		g, err := n.host.Open(tr.spec.Linux.CgroupsPath)
		testutil.Must(t, err)
		before, err := g.PIDs()
		testutil.Must(t, err)
		testutil.Must(t, e.Kill(bg()))
		exit, err := e.Wait(bg())
		testutil.Must(t, errors.Join(err, e.Close(), r.Close()))
		if exit.Code != 137 || exit.Signal != 9 {
			t.Errorf("exit %+v", exit)
		}
		after, err := g.PIDs()
		testutil.Must(t, err)
		if len(before) != 6 || len(after) != 1 {
			t.Errorf("processes before %v, after %v", before, after)
		}
	})
	t.Run("closed before its end", func(t *testing.T) {
		p := *tr.spec.Process
		p.Args = []string{"/bin/probe", "wait:/tmp/end"}
		e, err := n.Exec(bg(), tr.id, container.ExecOptions{Process: &p})
		testutil.Must(t, err)
		testutil.Must(t, errors.Join(e.Close(), e.Close()))
		_, _, err = tr.exec(nil, "touch:/tmp/end")
		testutil.Must(t, err)
		_, err = e.Wait(bg())
		testutil.Must(t, err)
	})
	t.Run("what it leaves behind lives on", func(t *testing.T) {
		out, exit, err := tr.exec(nil, "orphan")
		testutil.Must(t, err)
		if exit.Code != 0 || !strings.Contains(out, "orphan ") {
			t.Fatalf("exit %+v, output %s", exit, out)
		}
		pid := strings.TrimSpace(strings.TrimPrefix(out, "orphan "))
		out, _, err = tr.exec(nil, "link:/proc/"+pid+"/exe")
		testutil.Must(t, err)
		want(t, out, "link /bin/probe")
	})
}

func TestExecInSharedNamespaces(t *testing.T) {
	n := newNode(t, build(t))
	host := n.running(t, func(tr *trial) {
		tr.spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}}
		tr.spec.Hostname = ""
	})
	own, err := os.Readlink("/proc/self/ns/pid")
	testutil.Must(t, err)
	out, _, err := host.exec(nil, "link:/proc/self/ns/pid", "ls:/")
	testutil.Must(t, err)
	want(t, out, "link "+own, "entry work d---------")

	first := n.running(t, nil)
	pid, err := n.PID(first.id)
	testutil.Must(t, err)
	second := n.running(t, func(tr *trial) {
		for i, ns := range tr.spec.Linux.Namespaces {
			if ns.Type == specs.PIDNamespace {
				tr.spec.Linux.Namespaces[i].Path = fmt.Sprintf("/proc/%d/ns/pid", pid)
			}
		}
	})
	pidns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	testutil.Must(t, err)
	out, _, err = second.exec(nil, "link:/proc/self/ns/pid", "cat:/proc/1/cmdline")
	testutil.Must(t, err)
	want(t, out, "link "+pidns)
}

// What a terminal's reader waits for may never come, as a child can keep the terminal open: closing ends the wait.
func TestClosingATerminalEndsItsReader(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.running(t, nil)
	p := *tr.spec.Process
	p.Args, p.Terminal = []string{"/bin/probe", "loop"}, true
	e, err := n.Exec(bg(), tr.id, container.ExecOptions{Process: &p, Terminal: true})
	testutil.Must(t, err)
	done := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, e.Master())
		done <- err
	}()
	testutil.Must(t, e.Close())
	select {
	case err := <-done:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("read: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the reader still waits")
	}
}

func TestExecTerminal(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.running(t, nil)
	p := *tr.spec.Process
	p.Args, p.Terminal = []string{"/bin/probe", "tty", "line", "tty", "ids"}, true
	p.ConsoleSize = &specs.Box{Width: 80, Height: 24}
	p.User = specs.User{UID: 1000, GID: 1000}
	e, err := n.Exec(bg(), tr.id, container.ExecOptions{Process: &p, Terminal: true})
	testutil.Must(t, err)
	read := func(text string) string {
		t.Helper()
		var got []byte
		testutil.Must(t, errors.Join())
		for !strings.Contains(string(got), text) {
			chunk := make([]byte, 256)
			k, err := e.Master().Read(chunk)
			if err != nil {
				t.Fatalf("%v after %q", err, got)
			}
			got = append(got, chunk[:k]...)
		}
		return string(got)
	}
	read("tty /dev/pts/0 80 24 true <nil>")
	testutil.Must(t, e.Resize(100, 30))
	_, err = e.Master().WriteString("typed\n")
	testutil.Must(t, err)
	read("100 30 true <nil>")
	exit, err := e.Wait(bg())
	testutil.Must(t, errors.Join(err, e.Close()))
	if exit.Code != 0 {
		t.Errorf("exit %+v", exit)
	}
}

func TestExecInAnEndedContainer(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "exit:3")
	testutil.Must(t, tr.start())
	tr.wait()
	_, _, err := tr.exec(nil, "ids")
	if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "not running") {
		t.Errorf("error %v", err)
	}
	created := n.newTrial(t, "ids")
	testutil.Must(t, created.create())
	if _, _, err := created.exec(nil, "ids"); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("error %v", err)
	}
}

// An exec that runs into the container's end gets an error that says so, or has run.
func TestExecRacesWithTheEnd(t *testing.T) {
	n := newNode(t, build(t))
	ran, refused := 0, 0
	for i := range 30 {
		tr := n.newTrial(t, fmt.Sprintf("sleep:%d", 2+i%4))
		testutil.Must(t, tr.start())
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			_, _, err := tr.exec(nil, "ids")
			if err == nil {
				ran++
				continue
			}
			if !errors.Is(err, errdefs.ErrFailedPrecondition) {
				t.Fatalf("error %v", err)
			}
			refused++
			break
		}
		ctx, cancel := context.WithTimeout(bg(), 20*time.Second)
		testutil.Must(t, n.Delete(ctx, tr.id, container.DeleteOptions{}))
		cancel()
	}
	t.Logf("%d execs ran, %d were refused", ran, refused)
	if refused != 30 {
		t.Errorf("%d of 30 were refused", refused)
	}
}
