package container_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/pause"
)

func TestLifecycle(t *testing.T) {
	n := newNode(t, build(t))

	t.Run("exit codes and events", func(t *testing.T) {
		tr := n.newTrial(t, "exit:7")
		testutil.Must(t, tr.create())
		state, err := n.State(bg(), tr.id)
		testutil.Must(t, err)
		if state.Status != container.StatusCreated || state.PID != 0 {
			t.Errorf("state %+v", state)
		}
		started, err := n.Start(bg(), tr.id)
		testutil.Must(t, err)
		if started.PID == 0 || started.StartTime == 0 || time.Since(started.At) > time.Minute {
			t.Errorf("started %+v", started)
		}
		if exit := tr.wait(); exit.Code != 7 || exit.Signal != 0 || !exit.Known || exit.At.Before(started.At) {
			t.Errorf("exit %+v", exit)
		}
		n.awaitExits(t, tr.id, 1)
	})
	t.Run("signals", func(t *testing.T) {
		tr := n.newTrial(t, "trap:9")
		testutil.Must(t, tr.start())
		tr.awaitOutput("trapped")
		testutil.Must(t, n.Signal(bg(), tr.id, syscall.SIGTERM))
		if exit := tr.wait(); exit.Code != 9 {
			t.Errorf("exit %+v", exit)
		}
		if err := n.Signal(bg(), tr.id, syscall.SIGTERM); !errors.Is(err, errdefs.ErrFailedPrecondition) {
			t.Errorf("signal after the end: %v", err)
		}
	})
	t.Run("kill", func(t *testing.T) {
		tr := n.newTrial(t, "forks:5", "loop")
		testutil.Must(t, tr.start())
		tr.awaitOutput("loop")
		testutil.Must(t, n.Kill(bg(), tr.id))
		if exit := tr.wait(); exit.Code != 137 || exit.Signal != 9 {
			t.Errorf("exit %+v", exit)
		}
		testutil.Must(t, n.Kill(bg(), tr.id))
	})
	t.Run("kill without a PID namespace", func(t *testing.T) {
		tr := n.newTrial(t, "forks:3", "orphan", "loop")
		for i, ns := range tr.spec.Linux.Namespaces {
			if ns.Type == specs.PIDNamespace {
				tr.spec.Linux.Namespaces = append(tr.spec.Linux.Namespaces[:i], tr.spec.Linux.Namespaces[i+1:]...)
				break
			}
		}
		testutil.Must(t, tr.start())
		tr.awaitOutput("loop")
		testutil.Must(t, n.Kill(bg(), tr.id))
		g, err := n.host.Open(tr.spec.Linux.CgroupsPath)
		testutil.Must(t, err)
		if pids, err := g.PIDs(); err != nil || len(pids) > 0 {
			t.Errorf("left: %v %v", pids, err)
		}
	})
	t.Run("many created ones", func(t *testing.T) {
		for range 20 {
			tr := n.newTrial(t, "ids")
			tr.opts.LogPath = ""
			testutil.Must(t, tr.create())
		}
	})
	t.Run("delete", func(t *testing.T) {
		tr := n.newTrial(t, "loop")
		testutil.Must(t, tr.start())
		stdio := filepath.Join(n.dir, "stdio", tr.id)
		if _, err := os.Stat(stdio); err != nil {
			t.Error(err)
		}
		for range 3 {
			testutil.Must(t, n.Delete(bg(), tr.id, container.DeleteOptions{CgroupPath: tr.spec.Linux.CgroupsPath}))
		}
		if _, err := os.Stat(stdio); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("stdio folder: %v", err)
		}
		if _, err := n.host.Open(tr.spec.Linux.CgroupsPath); !errors.Is(err, errdefs.ErrNotFound) {
			t.Errorf("cgroup: %v", err)
		}
		if _, err := n.State(bg(), tr.id); !errors.Is(err, errdefs.ErrNotFound) {
			t.Errorf("state: %v", err)
		}
		testutil.Must(t, n.Delete(bg(), "never-seen", container.DeleteOptions{CgroupPath: n.cgroup + "/never-seen"}))
	})
	t.Run("delete ends a wait", func(t *testing.T) {
		tr := n.newTrial(t, "ids")
		testutil.Must(t, tr.create())
		done := make(chan error)
		go func() {
			_, err := n.Wait(bg(), tr.id)
			done <- err
		}()
		for { // the other goroutine may not be there yet
			if err := n.Delete(bg(), tr.id, container.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-done:
				if err != nil && !errors.Is(err, errdefs.ErrNotFound) {
					t.Error(err)
				}
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	t.Run("IDs are unique until deleted", func(t *testing.T) {
		tr := n.newTrial(t, "ids")
		testutil.Must(t, tr.create())
		again := tr.opts
		again.Root = n.newRoot(t, nil)
		if err := n.Create(bg(), again); !errors.Is(err, errdefs.ErrExists) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a cgroup that is left empty is used again", func(t *testing.T) {
		tr := n.newTrial(t, "ids")
		_, err := n.host.Create(bg(), tr.spec.Linux.CgroupsPath, nil)
		testutil.Must(t, err)
		want(t, tr.run(), "ids 0 0 0 0 []")
	})
	t.Run("log folder is missing", func(t *testing.T) {
		tr := n.newTrial(t, "ids")
		tr.opts.LogPath = n.dir + "/missing/x.log"
		if err := tr.start(); err == nil || !strings.Contains(err.Error(), n.dir+"/missing") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("stdin", func(t *testing.T) {
		tr := n.newTrial(t, "line")
		tr.opts.Stdin = true
		testutil.Must(t, tr.start())
		r, w, err := os.Pipe()
		testutil.Must(t, err)
		testutil.Must(t, n.Attach(bg(), tr.id, r, nil, nil))
		_, err = w.WriteString("by attach\n")
		testutil.Must(t, errors.Join(err, r.Close(), w.Close()))
		tr.wait()
		want(t, tr.output(), `line "by attach\n"`)
	})
	t.Run("a rotated log", func(t *testing.T) {
		tr := n.newTrial(t, "print:first", "wait:/tmp/go", "print:second")
		testutil.Must(t, tr.start())
		tr.awaitOutput("first")
		testutil.Must(t, os.Rename(tr.opts.LogPath, tr.opts.LogPath+".1"))
		testutil.Must(t, n.ReopenLog(bg(), tr.id))
		_, _, err := tr.exec(nil, "touch:/tmp/go")
		testutil.Must(t, err)
		tr.wait()
		if out := tr.output(); strings.TrimSpace(out) != "print second" {
			t.Errorf("new log: %q", out)
		}
	})
}

// awaitExits waits until Exits has delivered an end, and checks how often it did.
func (n *node) awaitExits(t testing.TB, id string, times int) {
	t.Helper()
	for range 500 {
		n.mu.Lock()
		got := len(n.exits[id])
		n.mu.Unlock()
		if got == times {
			return
		}
		if got > times {
			t.Fatalf("%d ends of %s", got, id)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no end of %s", id)
}

func TestLimits(t *testing.T) {
	n := newNode(t, build(t))
	t.Run("memory", func(t *testing.T) {
		limit := int64(32 << 20)
		tr := n.newTrial(t, "alloc:200", "print:survived")
		tr.spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
		testutil.Must(t, tr.start())
		exit := tr.wait()
		if exit.Code != 137 || exit.Signal != 9 {
			t.Errorf("exit %+v", exit)
		}
		if killed, err := n.OOMKilled(bg(), tr.id); err != nil || !killed {
			t.Errorf("OOMKilled %t %v", killed, err)
		}
		if n.keeperPID(t) == 0 {
			t.Error("the keeper is gone")
		}
	})
	t.Run("one MiB", func(t *testing.T) { // the child that sets a container up is charged to it, the keeper's memory is not
		limit := int64(1 << 20)
		tr := n.newTrial(t)
		tr.spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
		tr.spec.Process.Args = []string{pause.Path}
		root, err := pause.Root("")
		testutil.Must(t, err)
		tr.opts.Root, tr.spec.Mounts, tr.spec.Linux.MaskedPaths, tr.spec.Linux.ReadonlyPaths = root, nil, nil, nil
		testutil.Must(t, tr.start())
		if state, err := n.State(bg(), tr.id); err != nil || state.Status != container.StatusRunning {
			t.Errorf("state %+v, %v", state, err)
		}
		stats, err := n.Stats(bg(), tr.id)
		testutil.Must(t, err)
		if stats.Memory.Limit != uint64(limit) || stats.Memory.OOMKills != 0 {
			t.Errorf("memory %+v", stats.Memory)
		}
		t.Logf("it uses %d bytes", stats.Memory.Usage)
		testutil.Must(t, n.Kill(bg(), tr.id))
	})
	t.Run("no OOM", func(t *testing.T) {
		tr := n.newTrial(t, "ids")
		tr.run()
		if killed, err := n.OOMKilled(bg(), tr.id); err != nil || killed {
			t.Errorf("OOMKilled %t %v", killed, err)
		}
	})
	t.Run("pids", func(t *testing.T) {
		limit := int64(20)
		tr := n.newTrial(t, "forks:50", "exit:0")
		tr.spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
		testutil.Must(t, tr.start())
		tr.wait()
		out := tr.output()
		if !strings.Contains(out, "forked") && !strings.Contains(out, "resource temporarily unavailable") && !strings.Contains(out, "newosproc") {
			t.Errorf("output %s", out)
		}
		wantNot(t, out, "forked 50")
	})
	t.Run("update and stats", func(t *testing.T) {
		tr := n.running(t, nil)
		limit := int64(64 << 20)
		testutil.Must(t, n.Update(bg(), tr.id, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}))
		stats, err := n.Stats(bg(), tr.id)
		testutil.Must(t, err)
		if stats.Memory == nil || stats.Memory.Limit != uint64(limit) || stats.Memory.Usage == 0 || stats.PIDs == nil || stats.PIDs.Current == 0 {
			t.Errorf("stats %+v %+v", stats.Memory, stats.PIDs)
		}
	})
}

func TestTerminal(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "tty", "line", "tty", "stat:/dev/console", "ls:/dev/pts", "write:/dev/console=to-console", "ids")
	tr.opts.Terminal, tr.opts.Stdin = true, true
	tr.spec.Process.Terminal = true
	tr.spec.Process.ConsoleSize = &specs.Box{Width: 81, Height: 25}
	tr.spec.Process.User = specs.User{UID: 500, GID: 500}
	testutil.Must(t, tr.start())
	tr.awaitOutput("tty /dev/pts/0 81 25 true <nil>")
	testutil.Must(t, n.Resize(bg(), tr.id, 90, 40))
	inR, inW, err := os.Pipe()
	testutil.Must(t, err)
	testutil.Must(t, n.Attach(bg(), tr.id, inR, nil, nil))
	_, err = inW.WriteString("typed\n")
	testutil.Must(t, errors.Join(err, inR.Close()))
	if exit := tr.wait(); exit.Code != 0 {
		t.Errorf("exit %+v", exit)
	}
	testutil.Must(t, inW.Close())
	out := tr.output()
	for _, s := range []string{`line "typed\n"`, "tty /dev/pts/0 90 40 true <nil>", "stat /dev/console 20620 500:5 136:0 ", "entry 0 ", "to-console", "ids 500 500"} {
		if !strings.Contains(out, s) {
			t.Errorf("no %q in\n%s", s, out)
		}
	}
}

func TestTerminalNeedsDevpts(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "tty")
	tr.opts.Terminal, tr.spec.Process.Terminal, tr.spec.Mounts = true, true, nil
	if err := tr.create(); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "devpts") {
		t.Errorf("error %v", err)
	}
}

// The daemon is killed and started again, the keeper lives.
func TestRestart(t *testing.T) {
	n := newNode(t, build(t))
	stays := n.newTrial(t, "wait:/tmp/end", "print:after", "exit:5")
	ended := n.newTrial(t, "wait:/tmp/end", "exit:6")
	unstarted := n.newTrial(t, "ids")
	var old []container.Restored
	for _, tr := range []*trial{stays, ended} {
		testutil.Must(t, tr.start())
	}
	testutil.Must(t, unstarted.create())
	pid, err := n.PID(stays.id)
	testutil.Must(t, err)
	g, err := n.host.Open(ended.spec.Linux.CgroupsPath)
	testutil.Must(t, err)
	n.shutdown(t)
	testutil.Must(t, g.Kill(bg()))
	for _, tr := range []*trial{stays, ended, unstarted} {
		old = append(old, container.Restored{ID: tr.id, Spec: tr.spec, CgroupPath: tr.spec.Linux.CgroupsPath, LogPath: tr.opts.LogPath})
	}
	old = append(old, container.Restored{ID: "gone", Spec: stays.spec, CgroupPath: n.cgroup + "/gone"})
	n.boot(t)
	states, err := n.Restore(bg(), old)
	testutil.Must(t, err)
	if s := states[stays.id]; s.Status != container.StatusRunning || s.PID != pid || s.StartedAt.IsZero() {
		t.Errorf("running one: %+v", s)
	}
	// Its end may be known to the keeper only a moment after the kill.
	exit, err := n.Wait(bg(), ended.id)
	testutil.Must(t, err)
	if exit.Code != 137 || exit.Signal != 9 || !exit.Known {
		t.Errorf("ended one: %+v %+v", states[ended.id], exit)
	}
	for _, id := range []string{unstarted.id, "gone"} {
		if states[id].Status != container.StatusUnknown {
			t.Errorf("%s: %+v", id, states[id])
		}
	}
	unstarted.opts.Root = n.newRoot(t, nil)
	testutil.Must(t, n.Create(bg(), unstarted.opts))
	_, err = n.Start(bg(), unstarted.id)
	testutil.Must(t, err)
	unstarted.wait()
	want(t, unstarted.output(), "ids 0 0 0 0 []")
	_, _, err = stays.exec(nil, "touch:/tmp/end")
	testutil.Must(t, err)
	if exit := stays.wait(); exit.Code != 5 {
		t.Errorf("exit %+v", exit)
	}
	n.awaitExits(t, stays.id, 1)
	want(t, stays.output(), "print after")
}

// First the daemon, then the keeper is killed: the new daemon has got the terminal's master, and holds the FIFOs.
func TestRestartThenKeeperIsKilled(t *testing.T) {
	n := newNode(t, build(t))
	tty := n.newTrial(t, "print:before", "line", "exit:8")
	tty.opts.Terminal, tty.opts.Stdin, tty.spec.Process.Terminal = true, true, true
	fifo := n.newTrial(t, "line", "print:last words", "exit:9")
	fifo.opts.Stdin = true
	var old []container.Restored
	for _, tr := range []*trial{tty, fifo} {
		testutil.Must(t, tr.start())
		old = append(old, container.Restored{ID: tr.id, Spec: tr.spec, CgroupPath: tr.spec.Linux.CgroupsPath})
	}
	tty.awaitOutput("before")
	n.shutdown(t)
	n.boot(t)
	_, err := n.Restore(bg(), old)
	testutil.Must(t, err)
	n.killKeeper(t)
	for _, tr := range []*trial{tty, fifo} {
		r, w, err := os.Pipe()
		testutil.Must(t, err)
		testutil.Must(t, n.Attach(bg(), tr.id, r, nil, nil))
		_, err = w.WriteString("x\n")
		testutil.Must(t, errors.Join(err, r.Close(), w.Close()))
	}
	wantExit(t, tty.wait(), 8)
	wantExit(t, fifo.wait(), 9)
	want(t, strings.ReplaceAll(tty.output(), "\r", ""), `line "x\n"`)
	want(t, fifo.output(), `line "x\n"`, "print last words")
}

// A container says its last words while there is no keeper.
func TestOutputWithoutAKeeper(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "wait:/tmp/go", "print:last words", "stderr:and errors", "exit:3")
	testutil.Must(t, tr.start())
	root, err := n.OpenRoot(tr.id)
	testutil.Must(t, err)
	pid, err := n.PID(tr.id)
	testutil.Must(t, err)
	pidfd, err := sys.PidfdOpen(pid)
	testutil.Must(t, err)
	testutil.Must(t, os.Rename(n.bin.keeper, n.bin.keeper+".away")) // no keeper can be started
	n.killKeeper(t)
	testutil.Must(t, os.WriteFile("/proc/self/fd/"+fdName(root)+"/tmp/go", nil, 0o644))
	testutil.Must(t, sys.AwaitPidfd(bg(), pidfd))
	testutil.Must(t, os.Rename(n.bin.keeper+".away", n.bin.keeper))
	wantExit(t, tr.wait(), 3)
	testutil.Must(t, errors.Join(root.Close(), pidfd.Close()))
	want(t, tr.output(), "print last words", "and errors")
}

// The keeper is killed; the daemon starts another.
func TestKeeperIsKilled(t *testing.T) {
	n := newNode(t, build(t))
	stays := n.newTrial(t, "wait:/tmp/one", "print:after the kill", "wait:/tmp/two", "exit:5")
	testutil.Must(t, stays.start())
	tty := n.newTrial(t, "print:before", "line", "exit:8")
	tty.opts.Terminal, tty.opts.Stdin, tty.spec.Process.Terminal = true, true, true
	testutil.Must(t, tty.start())
	tty.awaitOutput("before")
	killed := n.newTrial(t, "loop")
	testutil.Must(t, killed.start())
	p := *stays.spec.Process
	p.Args = []string{"/bin/probe", "wait:/tmp/two", "exit:4"}
	e, err := n.Exec(bg(), stays.id, container.ExecOptions{Process: &p})
	testutil.Must(t, err)
	before := n.keeperPID(t)

	g, err := n.host.Open(killed.spec.Linux.CgroupsPath)
	testutil.Must(t, err)
	n.killKeeper(t)
	testutil.Must(t, g.Kill(bg()))

	ctx, cancel := context.WithTimeout(bg(), 20*time.Second)
	defer cancel()
	exit, err := n.Wait(ctx, killed.id)
	testutil.Must(t, err)
	wantExit(t, exit, 137)
	n.awaitExits(t, killed.id, 1)
	_, _, err = stays.exec(nil, "touch:/tmp/one")
	testutil.Must(t, err)
	if after := n.keeperPID(t); after == before || after == 0 {
		t.Errorf("keeper %d after %d", after, before)
	}
	stays.awaitOutput("after the kill")
	_, _, err = stays.exec(nil, "touch:/tmp/two")
	testutil.Must(t, err)
	wantExit(t, stays.wait(), 5)
	exit, err = e.Wait(ctx)
	testutil.Must(t, errors.Join(err, e.Close()))
	// Its pidfd tells, or it was killed by the end of the container's first process.
	if exit.Code != 4 {
		wantExit(t, exit, 137)
	}
	r, w, err := os.Pipe()
	testutil.Must(t, err)
	testutil.Must(t, n.Attach(bg(), tty.id, r, nil, nil))
	_, err = w.WriteString("x\n")
	testutil.Must(t, errors.Join(err, r.Close(), w.Close()))
	wantExit(t, tty.wait(), 8)
	want(t, strings.ReplaceAll(tty.output(), "\r", ""), `line "x\n"`)
}

// Both are killed: what is not known is said.
func TestBothAreKilled(t *testing.T) {
	n := newNode(t, build(t))
	stays := n.newTrial(t, "wait:/tmp/end", "exit:5")
	ended := n.newTrial(t, "loop")
	var old []container.Restored
	for _, tr := range []*trial{stays, ended} {
		testutil.Must(t, tr.start())
		old = append(old, container.Restored{ID: tr.id, Spec: tr.spec, CgroupPath: tr.spec.Linux.CgroupsPath})
	}
	g, err := n.host.Open(ended.spec.Linux.CgroupsPath)
	testutil.Must(t, err)
	n.shutdown(t)
	n.killKeeper(t)
	testutil.Must(t, g.Kill(bg()))
	n.boot(t)
	states, err := n.Restore(bg(), old)
	testutil.Must(t, err)
	if s := states[stays.id]; s.Status != container.StatusRunning {
		t.Errorf("state %+v", s)
	}
	if s := states[ended.id]; s.Status != container.StatusStopped || s.Exit.Known || s.Exit.Code != 255 || s.Exit.Reason == "" {
		t.Errorf("state %+v", s)
	}
	_, _, err = stays.exec(nil, "touch:/tmp/end")
	testutil.Must(t, err)
	wantExit(t, stays.wait(), 5)
}

// Deletes of containers that only the keeper knows, as after a restart whose records were lost.
func TestDeleteOfUnknown(t *testing.T) {
	n := newNode(t, build(t))
	for i, withCgroup := range []bool{true, false} {
		tr := n.newTrial(t, "loop")
		testutil.Must(t, tr.start())
		n.shutdown(t)
		n.boot(t)
		o := container.DeleteOptions{}
		if withCgroup {
			o.CgroupPath = tr.spec.Linux.CgroupsPath
		}
		testutil.Must(t, n.Delete(bg(), tr.id, o))
		if withCgroup {
			if _, err := n.host.Open(tr.spec.Linux.CgroupsPath); !errors.Is(err, errdefs.ErrNotFound) {
				t.Errorf("cgroup: %v", err)
			}
		}
		again := n.newTrial(t, "ids")
		again.spec.Linux.CgroupsPath = n.cgroup + fmt.Sprintf("/again%d", i)
		again.opts.ID, again.id = tr.id, tr.id
		want(t, again.run(), "ids 0 0 0 0 []")
	}
}
