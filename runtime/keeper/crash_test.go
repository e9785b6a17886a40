package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

const kills = 20

// writer starts a process that writes lines as fast as it can.
func writer(t testing.TB, s *session, id string, piece int, m *client.Managed) client.Started {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	return s.start(id, program(t, []string{modeVar + "=lines"}, exe, fmt.Sprint(piece)), client.Stdio{Managed: m})
}

// checkLines checks that every line is there once and in order.
func checkLines(t *testing.T, logs ...string) {
	t.Helper()
	nextOut, stopOut := iter.Pull(lines(t, logs, "stdout"))
	defer stopOut()
	nextErr, stopErr := iter.Pull(lines(t, logs, "stderr"))
	defer stopErr()
	for i := 0; ; i++ {
		next := nextOut
		if i%7 == 3 {
			next = nextErr
		}
		line, ok := next()
		end := fmt.Sprintf("end %d", i)
		if !ok {
			if line, ok = nextOut(); !ok || line != end {
				t.Fatalf("line %d is missing at the end", i)
			}
		}
		if line == end {
			if more, ok := nextErr(); ok {
				t.Fatalf("a line too many after the end: %q", more)
			}
			t.Logf("%d lines of output", i)
			return
		}
		if want := strings.TrimSuffix(string(numbered(i)), "\n"); line != want {
			t.Fatalf("line %d is %.60q, want %.60q", i, line, want)
		}
	}
}

func TestEveryLineOnceThroughKills(t *testing.T) {
	for _, piece := range []int{1, 100, 4096, 65536} { // how the process buffers
		t.Run(fmt.Sprint(piece), func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			m := n.managed("w")
			st := writer(t, n.dial(), "w", piece, m)
			logs := []string{m.LogPath}
			for i := range kills {
				time.Sleep(time.Duration(rand.IntN(12_000)) * time.Microsecond) // no moment is better than another
				n.kill()
				if i%5 == 4 { // a rotation that nobody could tell the keeper of
					old := fmt.Sprintf("%s.%d", m.LogPath, i)
					if err := os.Rename(m.LogPath, old); err != nil {
						t.Fatal(err)
					}
					logs = append(logs[:len(logs)-1], old, m.LogPath)
				}
				n.start()
			}
			s := n.dial()
			if err := syscall.Kill(st.PID, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if x := s.exit("w"); x.Code != 42 || !x.Known {
				t.Errorf("exit %+v", x)
			}
			checkLines(t, logs...)
		})
	}
}

// The connection dies with the keeper; the process runs on and what it says later is in the log.
func TestOutputAfterBothAreGone(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	r, w, err := os.Pipe() // its own channel, to be told when to go on
	if err != nil {
		t.Fatal(err)
	}
	b := fork.NewBuilder()
	b.Call("wait blocking", unix.SYS_FCNTL, b.File(r), fork.Imm(unix.F_SETFL), fork.Imm(0))
	b.Call("set stdin", unix.SYS_DUP3, b.File(r), fork.Imm(0), fork.Imm(0))
	b.Call("set stdout", unix.SYS_DUP3, b.Stdio(1), fork.Imm(1), fork.Imm(0))
	b.Call("set stderr", unix.SYS_DUP3, b.Stdio(2), fork.Imm(2), fork.Imm(0))
	b.Call("execute sh", unix.SYS_EXECVE, b.Str("/bin/sh"), b.Argv([]string{"sh", "-c", "echo one; read x; echo two; read x; echo three; exit 9"}), b.Argv(nil))
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	st := s.start("a", p, client.Stdio{Managed: m})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	n.kill()
	say := func() {
		if _, err := w.WriteString("go\n"); err != nil {
			t.Fatal(err)
		}
	}
	say()
	n.start()
	s = n.dial()
	list, err := s.List(context.Background())
	if err != nil || len(list) != 1 || list[0].Exited || list[0].PID != st.PID || list[0].StartTime != st.StartTime || !list[0].At.Equal(st.At) {
		t.Fatalf("the successor lists %+v, %v", list, err)
	}
	say()
	if x := s.exit("a"); x.Code != 9 || !x.Known {
		t.Errorf("exit %+v", x)
	}
	if got := text(readLog(t, m.LogPath), "stdout"); got != "one\ntwo\nthree\n" {
		t.Errorf("log: %q", got)
	}
	if err := s.Forget(context.Background(), "a"); err != nil {
		t.Error(err)
	}
}

// A process that ends while no keeper runs: its exit is known through a pidfd from before, and its last output is logged if
// somebody held the FIFOs open.
func TestEndWithoutKeeper(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	ctx := context.Background()
	m := n.managed("a")
	m.Stdin = true
	st := s.start("a", sh(t, "read x; echo last words; exit 3"), client.Stdio{Managed: m})
	nobody := s.start("b", sh(t, "exec sleep 1000"), client.Stdio{Managed: n.managed("b")})
	held := client.NewHolds()
	defer held.Close()
	if err := held.Add("a", m.Dir); err != nil {
		t.Fatal(err)
	}
	n.kill()
	in, err := os.OpenFile(m.Dir+"/stdin", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if err := syscall.Kill(nobody.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, p := range []client.Started{st, nobody} {
		if _, err := syscall.Wait4(p.PID, nil, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	// Before Linux 6.15 nobody can tell the code any more, and none is invented.
	code, known := 3, true
	if _, tells := sys.PidfdExitFile(st.Pidfd); !tells {
		code, known = 255, false
	}
	n.start()
	s = n.dial()
	if err := s.Adopt(ctx, "a", st.Pidfd, nil); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("a"); x.Code != code || x.Known != known {
		t.Errorf("exit %+v", x)
	}
	if got := text(readLog(t, m.LogPath), "stdout"); got != "last words\n" {
		t.Errorf("log: %q", got)
	}
	list, err := s.List(ctx)
	if err != nil || len(list) != 2 {
		t.Fatalf("list %+v, %v", list, err)
	}
	for _, p := range list {
		if p.ID == "b" && (!p.Exited || p.Exit.Known || p.Exit.Code != 255 || p.Exit.Reason == "") {
			t.Errorf("an end that nobody saw: %+v", p)
		}
	}
	// What was learned outlives this keeper too.
	n.kill()
	n.start()
	list, err = n.dial().List(ctx)
	if err != nil || len(list) != 2 {
		t.Fatalf("list %+v, %v", list, err)
	}
	for _, p := range list {
		if p.ID == "a" && (!p.Exited || p.Exit.Known != known || p.Exit.Code != code) {
			t.Errorf("after another kill: %+v", p)
		}
	}
}

// Exits of processes that end under the successor, and input through it. Nobody reaps these, so that it sees zombies.
func TestExitsUnderSuccessor(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	m.Stdin = true
	s.start("a", sh(t, "read x; exit $x"), client.Stdio{Managed: m})
	held := client.NewHolds() // without, its input would end with the keeper
	defer held.Close()
	if err := held.Add("a", m.Dir); err != nil {
		t.Fatal(err)
	}
	signals := map[string]syscall.Signal{"b": syscall.SIGKILL, "c": syscall.SIGSEGV}
	started := map[string]client.Started{}
	for id := range signals {
		started[id] = s.start(id, sh(t, "exec sleep 1000"), client.Stdio{Managed: n.managed(id)})
	}
	n.kill()
	n.start()
	s = n.dial()
	for id, sig := range signals {
		if err := syscall.Kill(started[id].PID, sig); err != nil {
			t.Fatal(err)
		}
	}
	in, _ := attach(t, s, "a")
	if _, err := in.WriteString("7\n"); err != nil {
		t.Fatal(err)
	}
	for id, code := range map[string]int{"a": 7, "b": 137, "c": 139} {
		if x := s.exit(id); x.Code != code || !x.Known {
			t.Errorf("%s: exit %+v, want %d", id, x, code)
		}
	}
}

// SIGTERM ends the keeper, nothing else.
func TestTerminateKeepsProcesses(t *testing.T) {
	n := newNode(t)
	st := n.dial().start("a", sh(t, "exec sleep 1000"), client.Stdio{Managed: n.managed("a")})
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Wait(); err != nil {
		t.Fatalf("the keeper ended with %v", err)
	}
	if err := syscall.Kill(st.PID, 0); err != nil {
		t.Errorf("the process: %v", err)
	}
	n.start()
}

// A daemon that holds the FIFOs open: input goes on through a kill, and ends when it should.
func TestHeldInput(t *testing.T) {
	for _, how := range []string{"close", "once", "closed while nobody was told"} {
		t.Run(how, func(t *testing.T) {
			n := newNode(t)
			s := n.dial()
			holds := client.NewHolds()
			defer func() {
				if err := holds.Close(); err != nil {
					t.Error(err)
				}
			}()
			if err := s.Keep(holds); err != nil {
				t.Fatal(err)
			}
			m := n.managed("a")
			m.Stdin, m.StdinOnce = true, how == "once"
			s.start("a", program(t, nil, "/bin/cat"), client.Stdio{Managed: m})
			n.kill()
			n.start()
			s = n.dial()
			if how != "closed while nobody was told" {
				if err := s.Keep(holds); err != nil {
					t.Fatal(err)
				}
			}
			in, out := attach(t, s, "a")
			say(t, in, out, "still here\n")
			switch how {
			case "once":
				in.Close()
			case "close":
				if err := s.CloseStdin(context.Background(), "a"); err != nil {
					t.Fatal(err)
				}
			default:
				if err := s.CloseStdin(context.Background(), "a"); err != nil {
					t.Fatal(err)
				}
				if err := s.Keep(holds); err != nil { // finds out by itself
					t.Fatal(err)
				}
			}
			if x := s.exit("a"); x.Code != 0 {
				t.Errorf("exit %+v", x)
			}
			if err := s.Forget(context.Background(), "a"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Whatever a daemon was told has started, the successor knows, wherever in the middle of other starts the kill came.
func TestKillDuringStarts(t *testing.T) {
	t.Cleanup(func() { killChildren(t) }) // a process that was forked and not yet in the journal; last of all
	n := newNode(t)
	told := make(map[string]int)
	for round := range 8 {
		s := n.dial()
		var mu sync.Mutex
		var wg sync.WaitGroup
		for worker := range 4 {
			p := program(t, nil, "/bin/sleep", "1000")
			wg.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprintf("%d-%d-%d", round, worker, i)
					req := client.StartRequest{ID: id, Program: p}
					if i%2 == 0 {
						req.Stdio.Managed = n.managed(id)
					}
					st, err := s.Start(context.Background(), req)
					if err != nil {
						if !errors.Is(err, errdefs.ErrUnavailable) {
							t.Errorf("start %s: %v", id, err)
						}
						return
					}
					st.Pidfd.Close()
					mu.Lock()
					told[id] = st.PID
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(5000+rand.IntN(20_000)) * time.Microsecond)
		n.kill()
		wg.Wait()
		n.start()
		list, err := n.dial().List(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		listed := make(map[string]int)
		for _, p := range list {
			if p.Exited {
				t.Errorf("%s has ended: %+v", p.ID, p.Exit)
			}
			listed[p.ID] = p.PID
		}
		for id, pid := range told {
			if listed[id] != pid {
				t.Errorf("%s was started as %d, and is listed as %d", id, pid, listed[id])
			}
		}
	}
	t.Logf("%d processes", len(told))
}

// killChildren ends what was left to this process, which is a child subreaper.
func killChildren(t *testing.T) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		children, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/children")
		if err != nil {
			continue // the thread has ended
		}
		for child := range strings.FieldsSeq(string(children)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Errorf("kill %d: %v", pid, err)
			}
			if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
				t.Errorf("wait for %d: %v", pid, err)
			}
		}
	}
}

// end returns the end of a process that may be over for long.
func (s *session) end(id string) client.Exit {
	s.t.Helper()
	list, err := s.List(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range list {
		if p.ID == id && p.Exited {
			return p.Exit
		}
	}
	return s.exit(id)
}
