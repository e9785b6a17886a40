package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
)

// berth is one call of the client on the node.
func (f *fixture) berth(t *testing.T, args ...string) *osexec.Cmd {
	t.Helper()
	path, err := node.Binary("berth")
	testutil.Must(t, err)
	cmd := osexec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "BERTH_SOCKET="+f.Socket)
	return cmd
}

// call runs it to its end.
func (f *fixture) call(t *testing.T, args ...string) (out, errOut string, exit int) {
	t.Helper()
	cmd := f.berth(t, args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	exit = code(t, cmd.Run())
	return o.String(), e.String(), exit
}

func code(t *testing.T, err error) int {
	t.Helper()
	if exit, ok := errors.AsType[*osexec.ExitError](err); ok {
		return exit.ExitCode()
	}
	testutil.Must(t, err)
	return 0
}

// noPods waits until no pod is left: berthd removes them after the client has gone.
func (f *fixture) noPods(t *testing.T) {
	t.Helper()
	f.until(t, "no pods", func() bool {
		list, err := f.ListPodSandbox(t.Context(), &cri.ListPodSandboxRequest{})
		testutil.Must(t, err)
		logs, err := os.ReadDir(filepath.Join(f.Dir, "root", "logs"))
		return len(list.GetItems()) == 0 && (len(logs) == 0 || os.IsNotExist(err))
	})
}

func (f *fixture) until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// pty opens a terminal.
func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	testutil.Must(t, err)
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	testutil.Must(t, err)
	testutil.Must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, errors.Join(master.Close(), slave.Close())) })
	return master, slave
}

// readUntil reads until text has come, and returns all.
func readUntil(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var got strings.Builder
	one := make([]byte, 1)
	for !strings.HasSuffix(got.String(), text) {
		if _, err := r.Read(one); err != nil {
			t.Fatalf("got %q, then %v; want %q", got.String(), err, text)
		}
		got.Write(one)
	}
	return got.String()
}

func TestClientShowsEverything(t *testing.T) {
	f := setup(t, node.Options{})
	t.Run("a terminal, from the first byte on", func(t *testing.T) {
		master, slave := pty(t)
		cmd := f.berth(t, "run", "-it", "--rm", busybox, "sh", "-c", "echo FIRST; read x; echo got $x; exit 4")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		testutil.Must(t, cmd.Start())
		readUntil(t, master, "FIRST\r\n")
		_, err := master.WriteString("hello\r")
		testutil.Must(t, err)
		readUntil(t, master, "got hello\r\n")
		if got := code(t, cmd.Wait()); got != 4 {
			t.Errorf("exit %d", got)
		}
		f.noPods(t)
	})
	t.Run("a line without an end, while it is asked for input", func(t *testing.T) {
		cmd := f.berth(t, "run", "-i", "--rm", busybox, "sh", "-c", `printf 'name? '; read x; echo "hello $x"; echo bad >&2`)
		in, err := cmd.StdinPipe()
		testutil.Must(t, err)
		out, err := cmd.StdoutPipe()
		testutil.Must(t, err)
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		testutil.Must(t, cmd.Start())
		readUntil(t, out, "name? ")
		_, err = io.WriteString(in, "you\n")
		testutil.Must(t, err)
		readUntil(t, out, "hello you\n")
		if got := code(t, cmd.Wait()); got != 0 || errOut.String() != "bad\n" {
			t.Errorf("exit %d, %q", got, errOut.String())
		}
	})
	t.Run("input that is over at once, and a lot of it", func(t *testing.T) {
		cmd := f.berth(t, "run", "-i", "--rm", busybox, "cat")
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		if err != nil || !bytes.Equal(out, data) {
			t.Errorf("%d of %d bytes came back, %v", len(out), len(data), err)
		}
	})
	t.Run("a lot of output, to one who reads slowly, and nothing twice", func(t *testing.T) {
		cmd := f.berth(t, "run", "--rm", busybox, "sh", "-c", "seq 1 1000000; printf end")
		out, err := cmd.StdoutPipe()
		testutil.Must(t, err)
		testutil.Must(t, cmd.Start())
		readUntil(t, out, "\n1000\n")
		rest, err := io.ReadAll(out)
		testutil.Must(t, err)
		if lines := strings.Split(string(rest), "\n"); len(lines) != 999001 || lines[0] != "1001" || lines[len(lines)-1] != "end" {
			t.Errorf("%d lines, the first %q, the last %q", len(lines), lines[0], lines[len(lines)-1])
		}
		testutil.Must(t, cmd.Wait())
	})
	f.noPods(t)
}

// TestClientOutlivesItsServer wants output to go on after berthd was killed, from where it was.
func TestClientOutlivesItsServer(t *testing.T) {
	f := setup(t, node.Options{})
	// The container ends after touch has, which its end would kill.
	const script = "echo one; until [ -e /go ]; do :; done; while pgrep -x touch >/dev/null; do :; done; echo two; exit 5"
	cmd := f.berth(t, "run", "--rm", busybox, "sh", "-c", script)
	out, err := cmd.StdoutPipe()
	testutil.Must(t, err)
	testutil.Must(t, cmd.Start())
	readUntil(t, out, "one\n")
	id, _, _ := f.call(t, "ps", "-q")
	testutil.Must(t, f.Kill())
	testutil.Must(t, f.Node.Start(t.Context()))
	if _, errOut, code := f.call(t, "exec", strings.TrimSpace(id), "touch", "/go"); code != 0 {
		t.Fatal(errOut)
	}
	rest, err := io.ReadAll(out)
	testutil.Must(t, err)
	if got := code(t, cmd.Wait()); got != 5 || string(rest) != "two\n" {
		t.Errorf("exit %d, %q", got, rest)
	}
	f.noPods(t)
}

// TestClientThatGoes wants containers of run --rm to go in every way in which their client can.
func TestClientThatGoes(t *testing.T) {
	f := setup(t, node.Options{})
	const loop = `trap 'exit 3' TERM; echo ready; while :; do echo y; done`
	start := func(t *testing.T) (*osexec.Cmd, io.ReadCloser) {
		cmd := f.berth(t, "run", "--rm", "--name", "c", busybox, "sh", "-c", loop)
		out, err := cmd.StdoutPipe()
		testutil.Must(t, err)
		testutil.Must(t, cmd.Start())
		readUntil(t, out, "ready\n")
		return cmd, out
	}
	t.Run("nobody reads its output", func(t *testing.T) {
		cmd, out := start(t)
		testutil.Must(t, out.Close())
		if got := code(t, cmd.Wait()); got != 3 {
			t.Errorf("exit %d", got)
		}
		f.noPods(t)
	})
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd, out := start(t)
			testutil.Must(t, cmd.Process.Signal(sig))
			_, err := io.Copy(io.Discard, out)
			testutil.Must(t, err)
			if got := code(t, cmd.Wait()); got != 3 {
				t.Errorf("exit %d", got)
			}
			f.noPods(t)
		})
	}
	t.Run("killed", func(t *testing.T) {
		cmd, _ := start(t)
		testutil.Must(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
		if out, _, _ := f.call(t, "ps", "-q"); out == "" {
			t.Error("the container ended with its client")
		}
		_, errOut, code := f.call(t, "stop", "c")
		if code != 0 && !strings.Contains(errOut, "none") { // it may be removed before its pod is stopped
			t.Errorf("stop: %s", errOut)
		}
		f.noPods(t)
	})
}
