package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/supervise"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func build(t *testing.T) string {
	t.Helper()
	testutil.RequireRoot(t)
	out := filepath.Join(t.TempDir(), "berth-keeper")
	if _, err := exec.LookPath("go"); err != nil { // in the virtual machine, which brings it along
		data, err := os.ReadFile("../../bin/berth-keeper")
		if err != nil {
			testutil.Skip(t, "no Go compiler, and no program made beforehand: %v", err)
		}
		testutil.Must(t, os.WriteFile(out, data, 0o755))
		return out
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", out, "../cmd/berth-keeper")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, text)
	}
	return out
}

func config(t *testing.T, binary string) supervise.Config {
	t.Helper()
	dir := t.TempDir()
	return supervise.Config{Binary: binary, Socket: dir + "/k/socket", StateDir: dir + "/k", Logger: slog.New(slog.DiscardHandler)}
}

// keepers finds the processes of a binary and socket.
func keepers(t *testing.T, c supervise.Config) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	testutil.Must(t, err)
	var list []int
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil && strings.HasPrefix(string(data), c.Binary+"\x00--socket\x00"+c.Socket+"\x00") {
			pid, err := strconv.Atoi(strings.Split(f, "/")[2])
			testutil.Must(t, err)
			list = append(list, pid)
		}
	}
	return list
}

// end kills a keeper and waits until its supervisor has reaped it.
func end(t *testing.T, pid int) {
	t.Helper()
	f, err := sys.PidfdOpen(pid)
	testutil.Must(t, err)
	testutil.Must(t, sys.PidfdSignal(f, syscall.SIGKILL))
	testutil.Must(t, sys.AwaitPidfd(t.Context(), f))
	testutil.Must(t, f.Close())
	for range 1000 {
		if syscall.Kill(pid, 0) == syscall.ESRCH {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("the keeper stays a zombie")
}

func TestConnectStartsOneKeeper(t *testing.T) {
	c := config(t, build(t))
	s := supervise.New(c)
	var first int
	for range 3 {
		conn, err := s.Connect(t.Context())
		testutil.Must(t, err)
		list, err := conn.List(t.Context())
		testutil.Must(t, errors.Join(err, conn.Close()))
		if len(list) > 0 {
			t.Errorf("processes %v", list)
		}
		pids := keepers(t, c)
		if len(pids) != 1 || first != 0 && pids[0] != first {
			t.Fatalf("keepers %v, first was %d", pids, first)
		}
		first = pids[0]
	}
	end(t, first)
	conn, err := s.Connect(t.Context())
	testutil.Must(t, err)
	testutil.Must(t, conn.Close())
	second := keepers(t, c)
	if len(second) != 1 || second[0] == first {
		t.Fatalf("keepers %v after %d", second, first)
	}
	end(t, second[0])
	testutil.Must(t, s.Close())
}

func TestKeeperStandsAlone(t *testing.T) {
	c := config(t, build(t))
	host, err := cgroup.Detect()
	testutil.Must(t, err)
	path := testutil.CgroupRoot() + "/keeper"
	c.Cgroup, err = host.Ensure(t.Context(), path)
	testutil.Must(t, err)
	leaked, err := syscall.Open("/", syscall.O_RDONLY, 0) // not close-on-exec
	testutil.Must(t, err)
	defer syscall.Close(leaked)
	s := supervise.New(c)
	conn, err := s.Connect(t.Context())
	testutil.Must(t, err)
	testutil.Must(t, conn.Close())
	pid := keepers(t, c)[0]

	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	testutil.Must(t, err)
	if session := strings.Fields(string(stat))[5]; session != strconv.Itoa(pid) {
		t.Errorf("session %s of process %d", session, pid)
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	testutil.Must(t, err)
	for line := range strings.Lines(string(groups)) {
		if (strings.Contains(line, ":memory:") || strings.HasPrefix(line, "0::")) && !strings.HasSuffix(line, path+"\n") {
			t.Errorf("cgroup %s", line)
		}
	}
	for fd, expect := range map[string]string{"0": "/dev/null", "1": c.StateDir + "/keeper.log", "2": c.StateDir + "/keeper.log", "cwd": "/"} {
		name := fmt.Sprintf("/proc/%d/fd/%s", pid, fd)
		if fd == "cwd" {
			name = fmt.Sprintf("/proc/%d/cwd", pid)
		}
		if target, err := os.Readlink(name); err != nil || target != expect {
			t.Errorf("%s is %s, want %s: %v", fd, target, expect, err)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	testutil.Must(t, err)
	for _, fd := range fds {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		if err == nil && (target == "/" || strings.HasSuffix(target, "/tasks") || strings.HasPrefix(target, "pipe:")) {
			t.Errorf("leaked file %s", target)
		}
	}
	// The supervisor goes, the keeper stays, and the next supervisor finds it.
	testutil.Must(t, s.Close())
	next := supervise.New(c)
	conn, err = next.Connect(t.Context())
	testutil.Must(t, err)
	testutil.Must(t, conn.Close())
	if pids := keepers(t, c); len(pids) != 1 || pids[0] != pid {
		t.Errorf("keepers %v, want %d", pids, pid)
	}
	testutil.Must(t, syscall.Kill(pid, syscall.SIGKILL))
	var status syscall.WaitStatus // the first supervisor, which would have reaped it, is gone
	_, err = syscall.Wait4(pid, &status, 0, nil)
	testutil.Must(t, err)
	testutil.Must(t, next.Close())
	for _, p := range []string{path, testutil.CgroupRoot()} {
		g, err := host.Ensure(t.Context(), p)
		testutil.Must(t, err)
		testutil.Must(t, g.Remove(t.Context()))
	}
	testutil.Must(t, host.Close())
}

func TestKeeperThatDoesNotStart(t *testing.T) {
	testutil.RequireRoot(t)
	missing := supervise.New(config(t, "/no/such/keeper"))
	if _, err := missing.Connect(t.Context()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/no/such/keeper") {
		t.Errorf("missing binary: %v", err)
	}
	fails := supervise.New(config(t, "/bin/false"))
	if _, err := fails.Connect(t.Context()); !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(err.Error(), "keeper.log") {
		t.Errorf("binary that fails: %v", err)
	}
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("Connect returned before its keeper was reaped: process %d, %v", pid, err)
	}
	script := filepath.Join(t.TempDir(), "keeper")
	testutil.Must(t, os.WriteFile(script, []byte("no program"), 0o755))
	broken := supervise.New(config(t, script))
	if _, err := broken.Connect(t.Context()); !errors.Is(err, syscall.ENOEXEC) {
		t.Errorf("no program: %v", err)
	}
	for _, s := range []*supervise.Supervisor{missing, fails, broken} {
		testutil.Must(t, s.Close())
	}
}

func TestKeeperThatHangs(t *testing.T) {
	testutil.RequireRoot(t)
	// A second keeper on the state of a stopped one waits for its lock.
	c := config(t, build(t))
	s := supervise.New(c)
	conn, err := s.Connect(t.Context())
	testutil.Must(t, err)
	testutil.Must(t, conn.Close())
	pid := keepers(t, c)[0]
	testutil.Must(t, os.Remove(c.Socket)) // nobody finds it any more, and it lives
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.Connect(ctx); err == nil {
		t.Error("two keepers on one state")
	}
	end(t, pid)
	for range 1000 {
		if len(keepers(t, c)) == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if left := keepers(t, c); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	testutil.Must(t, s.Close())
}
