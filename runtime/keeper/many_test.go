package keeper_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// flood writes lines as fast as they are taken, until it is killed.
func flood() {
	chunk := bytes.Repeat([]byte("a line of a log that is as long as such lines are, more or less, and says nothing\n"), 800)
	for {
		if _, err := os.Stdout.Write(chunk); err != nil {
			os.Exit(1)
		}
	}
}

// flooded counts what was logged of processes that write without end, and begins their logs anew before they fill the memory.
type flooded struct {
	t     testing.TB
	s     *session
	paths map[string]string // by ID
	bytes int64             // in logs that are gone
}

// startFlood starts processes that write without end.
func startFlood(t testing.TB, n *node, s *session, count int) *flooded {
	t.Helper()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	f := &flooded{t: t, s: s, paths: make(map[string]string)}
	for i := range count {
		id := fmt.Sprint("loud", i)
		f.paths[id] = n.log(id)
		s.start(id, program(t, []string{modeVar + "=flood"}, exe), client.Stdio{Managed: n.managed(id)})
	}
	return f
}

const rotateAt = 32 << 20

// count returns the bytes that were logged so far.
func (f *flooded) count() int64 {
	f.t.Helper()
	sum := f.bytes
	for id, path := range f.paths {
		info, err := os.Stat(path)
		if err != nil {
			f.t.Fatal(err)
		}
		sum += info.Size()
		if info.Size() < rotateAt {
			continue
		}
		old := path + ".old"
		if err := os.Rename(path, old); err != nil {
			f.t.Fatal(err)
		}
		if err := f.s.ReopenLog(context.Background(), id); err != nil {
			f.t.Fatal(err)
		}
		if info, err = os.Stat(old); err != nil {
			f.t.Fatal(err)
		}
		if err := os.Remove(old); err != nil {
			f.t.Fatal(err)
		}
		f.bytes += info.Size()
		fresh, err := os.Stat(path)
		if err != nil {
			f.t.Fatal(err)
		}
		sum = f.bytes + fresh.Size()
	}
	return sum
}

// Processes that log without end starve no other: while a quiet one is heard a hundred times, in the log and by its client, the loud
// ones get a bounded number of bytes through. What is compared are counts, whatever the machine's speed.
func TestLoudStarvesNobody(t *testing.T) {
	const (
		loud   = 4
		rounds = 100
		// One round wakes the quiet process and the keeper twice each. In between the loud ones may have some turns each, of a half
		// MiB and more: records are longer than lines.
		perRound = loud * 8 << 20
	)
	n := newNode(t)
	s := n.dial()
	f := startFlood(t, n, s, loud)
	m := n.managed("quiet")
	m.Stdin = true
	s.start("quiet", program(t, nil, "/bin/cat"), client.Stdio{Managed: m})
	in, out := attach(t, s, "quiet")
	for begin := f.count(); f.count()-begin < 64<<20; { // the flood runs
	}
	begin := f.count()
	worst, last := int64(0), begin
	for i := range rounds {
		say(t, in, out, fmt.Sprintf("round %d\n", i))
		now := f.count()
		worst, last = max(worst, now-last), now
	}
	if moved := f.count() - begin; moved > rounds*perRound {
		t.Errorf("the loud ones logged %d MiB while the quiet one was heard %d times", moved>>20, rounds)
	} else {
		t.Logf("%d MiB in %d rounds, %d MiB in the worst", moved>>20, rounds, worst>>20)
	}
	if lines := len(readLog(t, m.LogPath)); lines != rounds {
		t.Errorf("%d lines of the quiet one are in its log", lines)
	}
	if peak := status(t, n.cmd.Process.Pid, "VmHWM"); peak > 256<<10 {
		t.Errorf("the keeper took %d KiB of memory", peak)
	}
}

// status returns a value of /proc/PID/status in KiB.
func status(t *testing.T, pid int, name string) (kib int) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
			if _, err := fmt.Sscan(string(rest), &kib); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kib
}

// waiting runs a script that has a file as descriptor 9.
func waiting(t testing.TB, f *os.File, script string) *fork.Program {
	t.Helper()
	dup, err := sys.Dup(f)
	if err != nil {
		t.Fatal(err)
	}
	b := fork.NewBuilder()
	// In the keeper it may be number 9 by chance, which dup3 refuses to put in its own place.
	other := b.Call("copy a file", unix.SYS_FCNTL, b.File(dup), fork.Imm(unix.F_DUPFD_CLOEXEC), fork.Imm(10)).Result()
	b.Call("pass a file", unix.SYS_DUP3, other, fork.Imm(9), fork.Imm(0))
	for i := range 3 {
		b.Call("set stdio", unix.SYS_DUP3, b.Stdio(i), fork.Imm(uint64(i)), fork.Imm(0))
	}
	b.Call("execute sh", unix.SYS_EXECVE, b.Str("/bin/sh"), b.Argv([]string{"sh", "-c", script}), b.Argv(nil))
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// One keeper has a thousand containers, becomes another program with all of them, and knows how each of them ended.
func TestThousand(t *testing.T) {
	const count = 1000
	n := newNode(t)
	s := n.dial()
	files := openFiles(t, n.cmd.Process.Pid)
	r, w, err := os.Pipe() // all wait for its end
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ids := make(chan int, count)
	for i := range count {
		ids <- i
	}
	close(ids)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range ids {
				script := fmt.Sprintf("echo hello %d; read x <&9; echo bye %d; exit %d", i, i, i%200)
				req := client.StartRequest{ID: fmt.Sprint(i), Program: waiting(t, r, script), Stdio: client.Stdio{Managed: n.managed(fmt.Sprint(i))}}
				st, err := s.Start(context.Background(), req)
				if err != nil {
					t.Errorf("start %d: %v", i, err)
					return
				}
				st.Pidfd.Close()
			}
		})
	}
	wg.Wait()
	r.Close()
	list, err := s.List(context.Background())
	if err != nil || len(list) != count {
		t.Fatalf("%d of %d are listed, %v", len(list), count, err)
	}
	n.mustUpgrade()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		id := fmt.Sprint(i)
		if x := s.exit(id); x.Code != i%200 || !x.Known {
			t.Errorf("%d: exit %+v", i, x)
		}
		if got, want := text(readLog(t, n.log(id)), "stdout"), fmt.Sprintf("hello %d\nbye %d\n", i, i); got != want {
			t.Errorf("%d: log %q", i, got)
		}
		if err := s.Forget(context.Background(), id); err != nil {
			t.Error(err)
		}
	}
	const spare = 8 // pipes and the like that are kept for the next use
	if now := openFiles(t, n.cmd.Process.Pid); now > files+spare {
		t.Errorf("%d files are open, %d before", now, files)
	}
	noZombies(t, n.cmd.Process.Pid)
	if err := syscall.Kill(n.cmd.Process.Pid, 0); err != nil {
		t.Error(err)
	}
}
