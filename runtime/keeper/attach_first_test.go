package keeper_test

import (
	"io"
	"os"
	"testing"

	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// first makes pipes for a client that is there before the process.
func first(t testing.TB) (in, out *os.File, theirs [3]*os.File) {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inW.Close(); outR.Close() })
	return inW, outR, [3]*os.File{inR, outW, nil}
}

// startFirst starts a process with such a client, and closes this side's copies.
func startFirst(t testing.TB, s *session, id string, m *client.Managed, script string) {
	t.Helper()
	s.start(id, sh(t, script), client.Stdio{Managed: m})
	for _, f := range m.Client {
		if f != nil {
			f.Close()
		}
	}
}

// The first client gets every byte, although the process writes at once and is gone before anybody reads.
func TestFirstClientGetsAll(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	var out *os.File
	_, out, m.Client = first(t)
	startFirst(t, s, "a", m, "printf 'no newline'")
	s.exit("a")
	if got, err := io.ReadAll(out); err != nil || string(got) != "no newline" {
		t.Errorf("got %q, %v", got, err)
	}
	if got := text(readLog(t, m.LogPath), "stdout"); got != "no newline" {
		t.Errorf("log: %q", got)
	}
}

// Input that was over before the process was there ends for the process, too.
func TestFirstClientsInputEnds(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	m.Stdin, m.StdinOnce = true, true
	in, out, theirs := first(t)
	m.Client = theirs
	if _, err := in.WriteString("hello\n"); err != nil {
		t.Fatal(err)
	}
	in.Close()
	holds := client.NewHolds()
	if err := s.Keep(holds); err != nil {
		t.Fatal(err)
	}
	startFirst(t, s, "a", m, "exec cat")
	if x := s.exit("a"); x.Code != 0 {
		t.Errorf("exit %+v", x)
	}
	if got, err := io.ReadAll(out); err != nil || string(got) != "hello\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := holds.Close(); err != nil {
		t.Error(err)
	}
}

// The process waits for its first client, and loses nothing by it.
func TestSlowFirstClientIsWaitedFor(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	m.Stdin = true
	var out *os.File
	_, out, m.Client = first(t)
	startFirst(t, s, "a", m, "head -c 20000000 /dev/zero | tr '\\0' x; read x")
	in, _ := attach(t, s, "a")
	got, err := io.ReadAll(io.LimitReader(out, 20000000))
	if err != nil || len(got) != 20000000 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if _, err := in.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	s.exit("a")
	if log := text(readLog(t, m.LogPath), "stdout"); len(log) != len(got) {
		t.Errorf("%d bytes in the log", len(log))
	}
}

// A first client that goes away while the process waits for it lets the process go on.
func TestFirstClientLeaves(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	var out *os.File
	_, out, m.Client = first(t)
	startFirst(t, s, "a", m, "head -c 20000000 /dev/zero | tr '\\0' x | fold -w 99")
	if _, err := io.ReadFull(out, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	out.Close()
	if x := s.exit("a"); x.Code != 0 {
		t.Errorf("exit %+v", x)
	}
	if log := text(readLog(t, m.LogPath), "stdout"); len(log) < 20000000 {
		t.Errorf("%d bytes in the log", len(log))
	}
}
