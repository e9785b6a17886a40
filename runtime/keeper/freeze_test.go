package keeper

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/keeper/handover"
)

// serveHere runs a server in this process.
func serveHere(t *testing.T) (*server, Config) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "berth-keeper-test-")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Socket: dir + "/socket", StateDir: dir, Logger: slog.New(slog.DiscardHandler), Args: []string{"nothing"}}
	ctx, stop := context.WithCancel(context.Background())
	lock, err := acquire(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(cfg, lock, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.takeListener(cfg, nil); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.accept(ctx) }()
	t.Cleanup(func() {
		stop()
		for _, err := range []error{s.listener.Close(), <-ended, s.close(), lock.Close(), os.RemoveAll(dir)} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return s, cfg
}

// A keeper that stood still and could not become what it was to, works on as if nothing had been: no line, no end and no event is
// missing, and no file would survive an execve.
func TestFreezeAndThaw(t *testing.T) {
	const lines, rounds = 50000, 50
	s, cfg := serveHere(t)
	ctx := context.Background()
	c, err := client.Dial(ctx, cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := fork.NewBuilder()
	for i := range 3 {
		b.Call("set stdio", unix.SYS_DUP3, b.Stdio(i), fork.Imm(uint64(i)), fork.Imm(0))
	}
	script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do echo $i; i=$((i+1)); done; exit 5", lines)
	b.Call("execute sh", unix.SYS_EXECVE, b.Str("/bin/sh"), b.Argv([]string{"sh", "-c", script}), b.Argv(nil))
	p, err := b.Program()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	log := cfg.StateDir + "/log"
	st, err := c.Start(ctx, client.StartRequest{ID: "a", Program: p, Stdio: client.Stdio{Managed: &client.Managed{Dir: cfg.StateDir + "/io", LogPath: log}}})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Pidfd.Close()
	for range rounds {
		standStill(t, s)
		if list, err := c.List(ctx); err != nil || len(list) != 1 {
			t.Fatalf("list %+v, %v", list, err)
		}
	}
	if e, ok := <-c.Events(); !ok || e.ID != "a" || e.Exit.Code != 5 || !e.Exit.Known {
		t.Errorf("event %+v, %t", e, ok)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(line, fmt.Sprintf(" stdout F %d\n", i)) {
			t.Fatalf("line %d is %q", i, line)
		}
		i++
	}
	if i != lines {
		t.Errorf("%d lines of %d", i, lines)
	}
	if err := c.Forget(ctx, "a"); err != nil {
		t.Error(err)
	}
}

// standStill brings the server to a standstill and tries to become what is no program.
func standStill(t *testing.T, s *server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), freezeLimit)
	defer cancel()
	f, stdio, err := s.freeze(ctx)
	if err != nil {
		t.Fatal(err)
	}
	state, err := f.state(stdio)
	if err != nil {
		t.Fatal(err)
	}
	data, err := state.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handover.Decode(data); err != nil {
		t.Fatal(err)
	}
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer nothing.Close()
	if err := s.become(nothing, state); err == nil {
		t.Fatal("it has become nothing")
	}
	for _, file := range state.Files() {
		if flags, err := unix.FcntlInt(uintptr(file), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Fatalf("file %d: flags %#x, %v", file, flags, err)
		}
	}
	if err := f.thaw(); err != nil {
		t.Fatal(err)
	}
}
