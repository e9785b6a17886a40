package keeper_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// manager keeps descriptors as systemd does (sd_notify(3), sd_listen_fds(3)), on a socket of its own.
type manager struct {
	t    testing.TB
	conn *net.UnixConn
	done chan struct{}

	mu    sync.Mutex
	news  *sync.Cond
	files map[string]*os.File
	ready int
}

// newManagedNode starts a keeper under a service manager.
func newManagedNode(t testing.TB) *node {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "berth-keeper-test-")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/notify", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{t: t, conn: conn, done: make(chan struct{}), files: make(map[string]*os.File)}
	m.news = sync.NewCond(&m.mu)
	go m.serve()
	n := &node{t: t, dir: dir, manager: m}
	t.Cleanup(func() {
		n.killAll()
		conn.Close()
		<-m.done
		for _, f := range m.files {
			f.Close()
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	n.start()
	return n
}

func (m *manager) serve() {
	defer close(m.done)
	buf, oob := make([]byte, 4096), make([]byte, 4096)
	for {
		n, oobn, _, _, err := m.conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		var fds []int
		messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			m.t.Error(err)
		}
		for i := range messages {
			list, err := syscall.ParseUnixRights(&messages[i])
			if err != nil {
				m.t.Error(err)
			}
			fds = append(fds, list...)
		}
		m.handle(string(buf[:n]), fds)
	}
}

func (m *manager) handle(message string, fds []int) {
	values := make(map[string]string)
	for line := range strings.Lines(message) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[name] = value
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.news.Broadcast()
	name := values["FDNAME"]
	switch {
	case values["READY"] == "1":
		m.ready++
	case values["FDSTOREREMOVE"] == "1":
		if f := m.files[name]; f != nil {
			f.Close()
			delete(m.files, name)
		}
	case values["FDSTORE"] == "1" && len(fds) == 1 && values["FDPOLL"] == "0" && m.files[name] == nil:
		syscall.CloseOnExec(fds[0])
		m.files[name] = os.NewFile(uintptr(fds[0]), name)
	default:
		m.t.Errorf("the keeper says %q with %d files", message, len(fds))
	}
}

// prepare hands the kept files to a keeper that is to be started: duplicates, as its predecessor's last words may have some of
// them removed meanwhile. They are the caller's to close.
func (m *manager) prepare(cmd *exec.Cmd) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := slices.Sorted(maps.Keys(m.files))
	for _, name := range names {
		f, err := sys.Dup(m.files[name])
		if err != nil {
			m.t.Fatal(err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		m.t.Fatal(err)
	}
	// The shell knows the number that the process will have.
	args := append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", exe}, cmd.Args[1:]...)
	cmd.Path, cmd.Args = "/bin/sh", args
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.conn.LocalAddr().String(),
		fmt.Sprint("LISTEN_FDS=", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
}

// await waits until exactly so many files of each kind are kept.
func (m *manager) await(want map[string]int) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		got := make(map[string]int)
		for name := range m.files {
			kind, _, _ := strings.Cut(name, "-")
			got[kind]++
		}
		if maps.Equal(got, want) {
			return
		}
		m.news.Wait() // the test's own time limit says what it has not got
	}
}

// Nobody but the service manager holds anything when the keeper is killed: the terminal does not hang up, input does not end, last words
// and the exit code are not lost. What is not needed any more is not kept.
func TestKeptThroughKill(t *testing.T) {
	n := newManagedNode(t)
	s := n.dial()
	tty := n.terminal(t, "tty")
	noEcho(t, tty.Slave)
	s.start("tty", sh(t, "while read x; do echo heard $x; done"), client.Stdio{Managed: tty})
	tty.Slave.Close()
	tty.Master.Close()
	cat := n.managed("cat")
	cat.Stdin = true
	s.start("cat", program(t, nil, "/bin/cat"), client.Stdio{Managed: cat})
	last := n.managed("last")
	last.Stdin = true
	st := s.start("last", sh(t, "read x; echo last words; exit 3"), client.Stdio{Managed: last})
	s.start("plain", sh(t, "exec sleep 1000"), client.Stdio{})
	n.manager.await(map[string]int{"pidfd": 4, "master": 1, "stdin": 2, "stdout": 2, "stderr": 2})

	s.Close()
	n.kill()
	in, err := os.OpenFile(last.Dir+"/stdin", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if _, err := syscall.Wait4(st.PID, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	code, known := 3, true
	if _, tells := sys.PidfdExitFile(st.Pidfd); !tells { // before Linux 6.15
		code, known = 255, false
	}
	n.start()
	s = n.dial()
	if x := s.end("last"); x.Code != code || x.Known != known {
		t.Errorf("exit %+v", x)
	}
	if got := text(readLog(t, last.LogPath), "stdout"); got != "last words\n" {
		t.Errorf("log: %q", got)
	}
	in, out := attach(t, s, "tty")
	if _, err := in.WriteString("me\n"); err != nil {
		t.Fatal(err)
	}
	want := "heard me\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
		t.Errorf("the terminal says %q, %v", got, err)
	}
	in, out = attach(t, s, "cat")
	say(t, in, out, "still here\n")
	n.manager.await(map[string]int{"pidfd": 3, "master": 1, "stdin": 1, "stdout": 1, "stderr": 1})

	// A program that the keeper becomes goes on with the same store.
	n.mustUpgrade()
	if err := s.CloseStdin(context.Background(), "cat"); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("cat"); x.Code != 0 { // nobody else holds its input open
		t.Errorf("exit %+v", x)
	}
	n.manager.await(map[string]int{"pidfd": 2, "master": 1})
	n.manager.mu.Lock()
	defer n.manager.mu.Unlock()
	if n.manager.ready != 3 {
		t.Errorf("ready was said %d times", n.manager.ready)
	}
}

// Files that belong to nothing are closed, and not handed back again.
func TestKeptOfNobody(t *testing.T) {
	n := newManagedNode(t)
	n.dial().start("a", sh(t, "exec sleep 1000"), client.Stdio{})
	n.manager.await(map[string]int{"pidfd": 1})
	n.kill()
	for _, name := range []string{"pidfd-77", "stdin-1", "noise", "pidfd-x"} {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		n.manager.mu.Lock()
		n.manager.files[name] = f
		n.manager.mu.Unlock()
	}
	n.start()
	n.manager.await(map[string]int{"pidfd": 1, "stdin": 1}) // the second is a name of the process's, and goes with it
	s := n.dial()
	list, err := s.List(context.Background())
	if err != nil || len(list) != 1 || list[0].Exited {
		t.Fatalf("list %+v, %v", list, err)
	}
	if err := syscall.Kill(list[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("a"); x.Signal != int(syscall.SIGKILL) {
		t.Errorf("exit %+v", x)
	}
}
