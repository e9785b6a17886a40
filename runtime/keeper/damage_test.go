package keeper_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// A journal that was cut costs what was cut off, not the keeper.
func TestCutJournal(t *testing.T) {
	n := newNode(t)
	s := n.dial()
	kept := s.start("kept", sh(t, "exec sleep 1000"), client.Stdio{Managed: n.managed("kept")})
	lost := s.start("lost", sh(t, "exec sleep 1000"), client.Stdio{})
	n.kill()
	journal := n.dir + "/state/journal"
	st, err := os.Stat(journal)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(journal, st.Size()-10); err != nil {
		t.Fatal(err)
	}
	n.start()
	list, err := n.dial().List(context.Background())
	if err != nil || len(list) != 1 || list[0].ID != "kept" || list[0].PID != kept.PID || list[0].Exited {
		t.Errorf("list %+v, %v", list, err)
	}
	if _, err := os.Stat(journal + ".damaged"); err != nil {
		t.Errorf("the rest is not set aside: %v", err)
	}
	if err := syscall.Kill(lost.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Wait4(lost.PID, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
}

// inMountNamespace runs f on a thread with a private tmpfs of the given size at dir.
func inMountNamespace(t *testing.T, dir, size string, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := errors.Join(
			unix.Unshare(unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			os.Mkdir(dir, 0o700),
			unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size),
		)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A full disk loses output, not the process: it runs on, and what it says when there is room again is logged.
func TestFullDisk(t *testing.T) {
	n := newNode(t)
	n.kill()
	disk := n.dir + "/disk"
	inMountNamespace(t, disk, "256k", n.start)
	s := n.dial()
	seen := fmt.Sprintf("/proc/%d/root%s", n.cmd.Process.Pid, disk) // the keeper's view
	filler := seen + "/filler"
	if err := os.WriteFile(filler, make([]byte, 200<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	m := n.managed("a")
	m.LogPath = disk + "/a.log"
	m.Stdin = true
	s.start("a", sh(t, `read x; echo begin; head -c 1000000 /dev/zero | tr '\0' x | fold -w 99; echo; echo written >&2; read x; echo after`), client.Stdio{Managed: m})
	in, said := attachStderr(t, s, "a")
	if _, err := in.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "written\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, err := in.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	if x := s.exit("a"); x.Code != 0 {
		t.Errorf("exit %+v", x)
	}
	log := text(readLog(t, seen+"/a.log"), "stdout")
	if !strings.HasPrefix(log, "begin\nxxx") || !strings.HasSuffix(log, "x\nafter\n") || len(log) > 256<<10 {
		t.Errorf("log of %d bytes: %.20q … %q", len(log), log, log[max(0, len(log)-20):])
	}
}

// attachStderr connects to stdin and stderr.
func attachStderr(t *testing.T, s *session, id string) (in, said *os.File) {
	t.Helper()
	inR, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	said, saidW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); said.Close() })
	if err := errors.Join(s.Attach(context.Background(), id, inR, nil, saidW), inR.Close(), saidW.Close()); err != nil {
		t.Fatal(err)
	}
	return in, said
}

// A full state folder refuses starts, and hurts nothing that runs.
func TestFullStateFolder(t *testing.T) {
	n := newNode(t)
	n.kill()
	state := n.dir + "/state"
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	inMountNamespace(t, state, "64k", n.start)
	s := n.dial()
	m := n.managed("a")
	m.Stdin = true
	s.start("a", program(t, nil, "/bin/cat"), client.Stdio{Managed: m})
	filler := fmt.Sprintf("/proc/%d/root%s/filler", n.cmd.Process.Pid, state)
	if err := os.WriteFile(filler, make([]byte, 64<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the folder: %v", err)
	}
	in, out := attach(t, s, "a")
	say(t, in, out, "an unfinished line, ")
	say(t, in, out, "another, ")
	say(t, in, out, "the end\n")
	refused := 0
	for i := range 200 { // until the page that the journal is in is full too
		if _, err := s.Start(context.Background(), client.StartRequest{ID: fmt.Sprint(i), Program: sh(t, "exec sleep 1000")}); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("start with a full state folder: %v", err)
			}
			refused++
		}
	}
	if refused == 0 {
		t.Error("no start was refused")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.start("b", sh(t, "exit 3"), client.Stdio{})
	if x := s.exit("b"); x.Code != 3 {
		t.Errorf("exit %+v", x)
	}
	if err := s.CloseStdin(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	s.exit("a")
	if got := text(readLog(t, m.LogPath), "stdout"); got != "an unfinished line, another, the end\n" {
		t.Errorf("log: %q", got)
	}
}
