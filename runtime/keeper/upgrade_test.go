package keeper_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// The race detector slows the keeper down and not the processes that write, so that their logs grow the more.
// So it does where there is little time (BERTH_TEST_TRIES is set).
func upgrades() int {
	if raced || os.Getenv("BERTH_TEST_TRIES") != "" {
		return 8
	}
	return 60
}

// upgrade makes the keeper become the program at path.
func (n *node) upgrade(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(client.Upgrade(context.Background(), n.dir+"/socket", f), f.Close())
}

func (n *node) mustUpgrade() {
	n.t.Helper()
	if err := n.upgrade("/proc/self/exe"); err != nil {
		n.t.Fatal(err)
	}
}

// Processes write as fast as they can, others end with codes, one echoes to a client, while the keeper becomes another program
// again and again: every line is in the log once and in order, every end is told once and right, on a connection that nobody
// closes.
func TestUpgradeUnderLoad(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	pieces := []int{1, 4096}
	writers := make(map[string]client.Started)
	for _, piece := range pieces {
		id := fmt.Sprint("w", piece)
		writers[id] = writer(t, s, id, piece, n.managed(id))
	}
	m := n.managed("cat")
	m.Stdin = true
	s.start("cat", program(t, nil, "/bin/cat"), client.Stdio{Managed: m})
	in, out := attach(t, s, "cat")

	var wg sync.WaitGroup
	var stop atomic.Bool
	var want sync.Map // code by ID
	for worker := range 2 {
		var p [4]*fork.Program
		for code := range p {
			p[code] = sh(t, fmt.Sprintf("echo bye; exit %d", 10*code+worker))
		}
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				id := fmt.Sprintf("e%d-%d", worker, i)
				want.Store(id, 10*(i%4)+worker)
				req := client.StartRequest{ID: id, Program: p[i%4]}
				if i%2 == 0 {
					req.Stdio.Managed = n.managed(id)
				}
				st, err := s.Start(context.Background(), req)
				if err != nil {
					t.Errorf("start %s: %v", id, err)
					return
				}
				st.Pidfd.Close()
			}
		})
	}
	pid := n.cmd.Process.Pid
	for i := range upgrades() {
		n.mustUpgrade()
		say(t, in, out, fmt.Sprintf("echo %d\n", i))
	}
	stop.Store(true)
	wg.Wait()
	for id, st := range writers {
		if err := syscall.Kill(st.PID, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if x := s.exit(id); x.Code != 42 || !x.Known {
			t.Errorf("%s: exit %+v", id, x)
		}
		checkLines(t, n.log(id))
	}
	ends := 0
	want.Range(func(id, code any) bool {
		ends++
		if x := s.exit(id.(string)); x.Code != code || !x.Known || x.Signal != 0 {
			t.Errorf("%s: exit %+v, want %d", id, x, code)
		}
		if log, err := os.ReadFile(n.log(id.(string))); err == nil && !bytes.HasSuffix(log, []byte(" stdout F bye\n")) {
			t.Errorf("%s: log %q", id, log)
		}
		return true
	})
	if len(s.exits) != ends+len(writers) || s.told != len(s.exits) {
		t.Errorf("%d ends of %d processes were told %d times", len(s.exits), ends+len(writers), s.told)
	}
	if n.cmd.Process.Pid != pid || syscall.Kill(pid, 0) != nil {
		t.Error("the keeper is another process")
	}
	noZombies(t, pid)
	t.Logf("%d upgrades, %d processes that ended", upgrades(), ends)
}

// noZombies checks that the keeper has reaped its children.
func noZombies(t *testing.T, pid int) {
	t.Helper()
	out, err := exec.Command("ps", "--ppid", fmt.Sprint(pid), "-o", "stat=,pid=").Output()
	var none *exec.ExitError
	if err != nil && !errors.As(err, &none) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Z") {
			t.Errorf("a child was not reaped: %s", line)
		}
	}
}

// A terminal's output is handed over with the line that is not finished, and so is its client.
func TestUpgradeWithTerminal(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.terminal(t, "a")
	noEcho(t, m.Slave)
	s.start("a", sh(t, "while read x; do printf \"$x\"; done"), client.Stdio{Managed: m})
	m.Slave.Close()
	in, out := attach(t, s, "a")
	for i := range 5 {
		if _, err := fmt.Fprintf(in, "part%d.\n", i); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("part%d.", i)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
		n.mustUpgrade()
	}
	if err := s.Resize(context.Background(), "a", 90, 30); err != nil {
		t.Error(err)
	}
	if _, err := in.WriteString("\x04"); err != nil { // end of input
		t.Fatal(err)
	}
	s.exit("a")
	if got := text(readLog(t, m.LogPath), "stdout"); !strings.HasSuffix(got, "part0.part1.part2.part3.part4.") {
		t.Errorf("log: %q", got)
	}
}

// What can't take over does not get the chance: the keeper goes on.
func TestUpgradeToSomethingElse(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	m.Stdin = true
	s.start("a", program(t, nil, "/bin/cat"), client.Stdio{Managed: m})
	in, out := attach(t, s, "a")
	say(t, in, out, "here\n")
	files := openFiles(t, n.cmd.Process.Pid)
	for name, content := range map[string]string{"script": "#!/bin/sh\nexit 0\n", "nothing": "", "noise": "\x7fELF\x02\x01\x01"} {
		path := t.TempDir() + "/" + name
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := n.upgrade(path); err == nil {
			t.Errorf("%s: it became that", name)
		}
	}
	for _, path := range []string{"/bin/true", "/bin/cat", "/bin/ls", n.dir} {
		if err := n.upgrade(path); err == nil {
			t.Errorf("%s: it became that", path)
		}
		say(t, in, out, "still here\n")
	}
	settles(t, "files", files, func() int { return openFiles(t, n.cmd.Process.Pid) }) // it closes the asker's connection in its own time
	n.mustUpgrade()
	say(t, in, out, "and now\n")
	if err := s.CloseStdin(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("a"); x.Code != 0 {
		t.Errorf("exit %+v", x)
	}
}

// Of many who ask at once one is served at a time, and all are answered.
func TestUpgradesAtOnce(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	s.start("a", sh(t, "exec sleep 1000"), client.Stdio{Managed: n.managed("a")})
	var wg sync.WaitGroup
	var done atomic.Int32
	for range 8 {
		wg.Go(func() {
			err := n.upgrade("/proc/self/exe")
			if err == nil {
				done.Add(1)
			} else if !errors.Is(err, errdefs.ErrFailedPrecondition) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if done.Load() == 0 {
		t.Error("nobody was served")
	}
	list, err := s.List(context.Background())
	if err != nil || len(list) != 1 || list[0].Exited {
		t.Errorf("list %+v, %v", list, err)
	}
}

// After upgrades the keeper still holds its lock and its journal: another keeper is refused, and its death costs nothing.
func TestUpgradeThenKill(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("w")
	st := writer(t, s, "w", 4096, m)
	_, out := attach(t, s, "w")
	if _, err := out.Read(make([]byte, 1)); err != nil { // it writes: signals are handled
		t.Fatal(err)
	}
	n.mustUpgrade()
	if out, err := keeperCommand(n.dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "another keeper uses the state folder") {
		t.Errorf("a second keeper: %v, %s", err, out)
	}
	n.kill()
	n.start()
	n.mustUpgrade()
	s = n.dial()
	if err := syscall.Kill(st.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("w"); x.Code != 42 || !x.Known {
		t.Errorf("exit %+v", x)
	}
	checkLines(t, m.LogPath)
}

// A state that can't be read costs what a death costs, no more: children are still children.
func TestResumeWithoutState(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	m.Stdin = true
	st := s.start("a", sh(t, "read x; exit $x"), client.Stdio{Managed: m})
	held := client.NewHolds()
	defer held.Close()
	if err := held.Add("a", m.Dir); err != nil {
		t.Fatal(err)
	}
	n.kill()
	bad, err := sys.SealedMemory("state", []byte("no state"))
	if err != nil {
		t.Fatal(err)
	}
	memory := bad.File("state")
	defer memory.Close()
	cmd := keeperCommand(n.dir)
	cmd.Args = append(cmd.Args, "--resume", "3")
	cmd.ExtraFiles = []*os.File{memory}
	n.run(cmd)
	s = n.dial()
	in, _ := attach(t, s, "a")
	if _, err := in.WriteString("7\n"); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("a"); x.Code != 7 || !x.Known {
		t.Errorf("exit %+v of %d", x, st.PID)
	}
}
