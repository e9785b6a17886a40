package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// attach connects to stdin and stdout.
func attach(t testing.TB, s *session, id string) (in *os.File, out *os.File) {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Attach(context.Background(), id, inR, outW, nil); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	t.Cleanup(func() { inW.Close(); outR.Close() })
	return inW, outR
}

// say writes to a process that echoes, and waits for the echo.
func say(t testing.TB, in io.Writer, out io.Reader, text string) {
	t.Helper()
	if _, err := io.WriteString(in, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(out, got); err != nil || string(got) != text {
		t.Fatalf("said %q, heard %q, %v", text, got, err)
	}
}

func TestStdinOnce(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	m.Stdin, m.StdinOnce = true, true
	s.start("a", program(t, nil, "/bin/cat"), client.Stdio{Managed: m})
	in, out := attach(t, s, "a")
	say(t, in, out, "hello\n")
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(out); err != nil || len(rest) != 0 { // ends with the process
		t.Errorf("after the end of input: %q, %v", rest, err)
	}
	if x := s.exit("a"); x.Code != 0 {
		t.Errorf("exit %+v", x)
	}
	if got := text(readLog(t, m.LogPath), "stdout"); got != "hello\n" {
		t.Errorf("log: %q", got)
	}
}

// Without StdinOnce input stays open for the next client.
func TestStdinOfManyClients(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	m.Stdin = true
	s.start("a", program(t, nil, "/bin/cat"), client.Stdio{Managed: m})
	for range 3 {
		in, out := attach(t, s, "a")
		say(t, in, out, "hello\n")
		in.Close()
	}
	first, _ := attach(t, s, "a")
	second, out := attach(t, s, "a")
	if _, err := first.WriteString("from the first\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("from the first\n"))
	if _, err := io.ReadFull(out, got); err != nil || string(got) != "from the first\n" {
		t.Errorf("the second client sees %q, %v", got, err)
	}
	if _, err := second.WriteString("unfinished"); err != nil {
		t.Fatal(err)
	}
	got = make([]byte, len("unfinished"))
	if _, err := io.ReadFull(out, got); err != nil || string(got) != "unfinished" { // a prompt must show
		t.Errorf("the second client sees %q, %v", got, err)
	}
	if err := s.CloseStdin(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	s.exit("a")
	want := "hello\nhello\nhello\nfrom the first\nunfinished"
	if got := text(readLog(t, m.LogPath), "stdout"); got != want {
		t.Errorf("log: %q, want %q", got, want)
	}
}

func TestLargeInput(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	m.Stdin, m.StdinOnce = true, true
	s.start("a", sh(t, "exec wc -c"), client.Stdio{Managed: m})
	in, out := attach(t, s, "a")
	data := make([]byte, 3<<20)
	if _, err := in.Write(data); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if got, err := io.ReadAll(out); err != nil || string(got) != "3145728\n" {
		t.Errorf("the process counted %q, %v", got, err)
	}
	s.exit("a")
}

// Clients that go without a word leave nothing open.
func TestVanishingClients(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	m.Stdin = true
	s.start("a", program(t, nil, "/bin/cat"), client.Stdio{Managed: m})
	in, out := attach(t, s, "a")
	say(t, in, out, "x\n")
	before := openFiles(t, n.cmd.Process.Pid)
	for range 200 {
		in, out := attach(t, s, "a")
		in.Close()
		out.Close()
	}
	say(t, in, out, "y\n") // whatever came before has been handled
	if after := openFiles(t, n.cmd.Process.Pid); after > before {
		t.Errorf("%d files are open, %d before", after, before)
	}
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A client that does not read holds up neither the process nor the log, and is cut off.
func TestSlowClient(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	m.Stdin = true
	s.start("a", sh(t, "read x; head -c 20000000 /dev/zero | tr '\\0' x | fold -w 99"), client.Stdio{Managed: m})
	_, slow := attach(t, s, "a")
	in, _ := attach(t, s, "a")
	if _, err := in.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("a"); x.Code != 0 {
		t.Errorf("exit %+v", x)
	}
	log := text(readLog(t, m.LogPath), "stdout")
	if want := 20000000 + 20000000/99; len(log) < want {
		t.Errorf("%d bytes in the log, want %d", len(log), want)
	}
	got, err := io.ReadAll(slow)
	if err != nil || !strings.HasPrefix(log, string(got)) || len(got) == 0 || len(got) > 2<<20 {
		t.Errorf("the slow client got %d bytes (%v), which are the log's beginning: %v", len(got), err, strings.HasPrefix(log, string(got)))
	}
}

// A client gets the last output although the process is gone before it reads.
func TestLateReader(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	m.Stdin = true
	s.start("a", sh(t, "read x; head -c 500000 /dev/zero"), client.Stdio{Managed: m})
	in, out := attach(t, s, "a")
	if _, err := in.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	s.exit("a")
	if got, err := io.ReadAll(out); err != nil || len(got) != 500000 {
		t.Errorf("%d bytes, %v; want 500000", len(got), err)
	}
}

func TestAttachErrors(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	ctx := context.Background()
	if err := s.Attach(ctx, "nobody", nil, nil, nil); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("unknown process: %v", err)
	}
	s.start("exec", sh(t, "exec sleep 1000"), client.Stdio{})
	if err := s.Attach(ctx, "exec", nil, nil, nil); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("process with stdio of its own: %v", err)
	}
	s.start("a", sh(t, "exit 0"), client.Stdio{Managed: n.managed("a")})
	s.exit("a")
	if err := s.Attach(ctx, "a", nil, nil, nil); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("ended process: %v", err)
	}
	if err := s.Resize(ctx, "a", 80, 25); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("resize without a terminal: %v", err)
	}
}
