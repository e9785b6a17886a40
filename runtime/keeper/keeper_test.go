package keeper_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

func TestProcessLogExitForget(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	m := n.managed("a")
	st, err := s.Start(context.Background(), client.StartRequest{
		ID: "a", Program: sh(t, "echo to stdout; echo to stderr >&2; echo -n unfinished; exit 5"), Flags: allNamespaces,
		Stdio: client.Stdio{Managed: m},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Pidfd.Close()
	if st.PID <= 0 || st.StartTime == 0 || st.At.IsZero() {
		t.Errorf("started as %+v", st)
	}
	if x := s.exit("a"); !x.Known || x.Code != 5 || x.Signal != 0 || x.At.Before(st.At) {
		t.Errorf("exit %+v", x)
	}
	log := readLog(t, m.LogPath)
	if got := text(log, "stdout"); got != "to stdout\nunfinished" {
		t.Errorf("stdout in the log: %q", got)
	}
	if got := text(log, "stderr"); got != "to stderr\n" {
		t.Errorf("stderr in the log: %q", got)
	}
	list, err := s.List(context.Background())
	if err != nil || len(list) != 1 || !list[0].Exited || list[0].Exit.Code != 5 || list[0].PID != st.PID || list[0].StartTime != st.StartTime {
		t.Errorf("list: %+v, %v", list, err)
	}
	for range 2 {
		if err := s.Forget(context.Background(), "a"); err != nil {
			t.Errorf("forget: %v", err)
		}
	}
	if _, err := os.Stat(m.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stdio folder is still there: %v", err)
	}
	if list, err := s.List(context.Background()); err != nil || len(list) != 0 {
		t.Errorf("list after forget: %+v, %v", list, err)
	}
}

func TestStartErrors(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	ctx := context.Background()

	_, err := s.Start(ctx, client.StartRequest{ID: "x", Program: program(t, nil, "/no/such"), Stdio: client.Stdio{Managed: n.managed("x")}})
	var step *fork.StepError
	if !errors.As(err, &step) || step.Step != "execute /no/such" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing command: %v", err)
	}
	m := n.managed("x")
	m.LogPath = n.dir + "/missing/x.log"
	if _, err = s.Start(ctx, client.StartRequest{ID: "x", Program: sh(t, "true"), Stdio: client.Stdio{Managed: m}}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("missing log folder: %v", err)
	}
	if _, err = s.Start(ctx, client.StartRequest{ID: "x", Program: sh(t, "true"), Flags: unix.CLONE_VM}); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("bad flags: %v", err)
	}
	if _, err = s.Start(ctx, client.StartRequest{ID: "", Program: sh(t, "true")}); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("empty ID: %v", err)
	}
	if _, err := os.Stat(n.managed("x").Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a failed start left its folder: %v", err)
	}
	if list, err := s.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("failed starts are in the list: %v, %v", list, err)
	}
	s.start("x", sh(t, "exec sleep 1000"), client.Stdio{Managed: n.managed("x")})
	if _, err = s.Start(ctx, client.StartRequest{ID: "x", Program: sh(t, "true")}); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("ID in use: %v", err)
	}
	if err := s.Forget(ctx, "x"); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("forget a running process: %v", err)
	}
	if err := s.ReopenLog(ctx, "nobody"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("unknown ID: %v", err)
	}
}

func TestDirectStdio(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.start("exec", program(t, nil, "/bin/cat"), client.Stdio{Files: [3]*os.File{inR, outW, nil}})
	inR.Close()
	outW.Close()
	want := strings.Repeat("through the process\n", 10000) // more than a pipe holds, so a non-blocking end would show
	go func() {
		io.WriteString(inW, want)
		inW.Close()
	}()
	got, err := io.ReadAll(outR)
	if err != nil || string(got) != want {
		t.Errorf("%d bytes came back, %v; want %d", len(got), err, len(want))
	}
	if x := s.exit("exec"); x.Code != 0 || !x.Known {
		t.Errorf("exit %+v", x)
	}
}

func TestSignalExit(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	st := s.start("a", sh(t, "exec sleep 1000"), client.Stdio{Managed: n.managed("a")})
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("a"); x.Code != 137 || x.Signal != 9 || !x.Known {
		t.Errorf("exit %+v", x)
	}
}

func TestRotation(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	ctx := context.Background()
	m := n.managed("a")
	m.Stdin = true
	s.start("a", program(t, nil, "/bin/cat"), client.Stdio{Managed: m})
	in, out := attach(t, s, "a")
	say(t, in, out, "before\n")
	if err := os.Rename(m.LogPath, m.LogPath+".1"); err != nil {
		t.Fatal(err)
	}
	say(t, in, out, "between\n")
	if err := s.ReopenLog(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	say(t, in, out, "after\n")
	if err := os.Mkdir(m.LogPath+".d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseStdin(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	s.exit("a")
	for path, want := range map[string]string{m.LogPath + ".1": "before\nbetween\n", m.LogPath: "after\n"} {
		if got := text(readLog(t, path), "stdout"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if err := os.Remove(m.LogPath); err != nil {
		t.Fatal(err)
	}
	if err := s.ReopenLog(ctx, "a"); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("reopen after the end: %v", err)
	}
	if _, err := os.Stat(m.LogPath); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused reopen made a file: %v", err)
	}
}

func TestSecondKeeperIsRefused(t *testing.T) {
	n := newNode(t)
	first := n.cmd
	defer func() { n.cmd = first }()
	cmd := keeperCommand(n.dir)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another keeper uses the state folder") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestSeveralConnections(t *testing.T) {
	n := newNode(t)
	a, b := n.dial(), n.dial()
	st := a.start("p", sh(t, "exec sleep 1000"), client.Stdio{})
	list, err := b.List(context.Background())
	if err != nil || len(list) != 1 || list[0].Exited {
		t.Fatalf("the other connection lists %+v, %v", list, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(st.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if x := b.exit("p"); x.Code != 143 {
		t.Errorf("exit %+v", x)
	}
	want := []client.Process{{ID: "p", PID: st.PID, StartTime: st.StartTime, At: st.At, Exited: true, Exit: b.exits["p"]}}
	list, err = n.dial().List(context.Background())
	if diff := cmp.Diff(want, list); diff != "" || err != nil {
		t.Errorf("a later connection lists (%v):\n%s", err, diff)
	}
}

func TestLargeRequest(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	env := []string{"BIG=" + strings.Repeat("x", 100<<10)} // travels in a memory file
	b := fork.NewBuilder()
	for range 300 { // more files than one packet holds
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		b.Call("look at a file", unix.SYS_FCNTL, b.File(f), fork.Imm(unix.F_GETFD))
	}
	for i := range 3 {
		b.Call("set stdio", unix.SYS_DUP3, b.Stdio(i), fork.Imm(uint64(i)), fork.Imm(0))
	}
	b.Call("execute", unix.SYS_EXECVE, b.Str("/bin/sh"), b.Argv([]string{"sh", "-c", "echo ${#BIG}; ls /proc/self/fd | wc -l"}), b.Argv(append(env, "PATH=/bin:/usr/bin")))
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s.start("big", p, client.Stdio{Managed: n.managed("big")})
	s.exit("big")
	if got := text(readLog(t, n.log("big")), "stdout"); got != "102400\n4\n" {
		t.Errorf("the process said %q", got)
	}
}
