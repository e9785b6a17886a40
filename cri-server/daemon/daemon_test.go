package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestOneFolderHasOneOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "(pid ") {
		t.Fatalf("locked twice: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := lock(dir)
	if err != nil {
		t.Fatalf("not free again: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOneNetworkHasOneOwner(t *testing.T) {
	testutil.RequireRoot(t)
	name := fmt.Sprintf("t%d", os.Getpid())
	for range 2 {
		first, err := ownNetwork(name)
		testutil.Must(t, err)
		if _, err := ownNetwork(name); !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "cni.default_network") {
			t.Errorf("taken twice: %v", err)
		}
		other, err := ownNetwork(name + "x")
		testutil.Must(t, err)
		testutil.Must(t, errors.Join(first.Close(), other.Close()))
	}
	if left, err := filepath.Glob(filepath.Join(lockFolder, "network-"+name+"*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "s.sock")
	l, err := listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != socketMode {
		t.Fatalf("got %v, %v", info.Mode(), err)
	}
	if _, err := listen(t.Context(), path); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Fatalf("took a socket at which somebody answers: %v", err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the socket stayed: %v", err)
	}
}

func TestListenReplacesWhatACrashLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := errors.Join(left.Close(), os.WriteFile(path+".new", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	l, err := listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t.Context(), path); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Fatalf("replaced a file: %v", err)
	}
}

func TestNotify(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "n"), "@berth-test-" + filepath.Base(t.TempDir()) + t.Name()} {
		address := name
		if strings.HasPrefix(name, "@") {
			address = "\x00" + name[1:]
		}
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		if err := notify(name, "READY=1"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 64)
		n, err := l.Read(buf)
		if err != nil || string(buf[:n]) != "READY=1" {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := notify("", "READY=1"); err != nil {
		t.Fatal(err)
	}
	if err := notify("/none", "READY=1"); err == nil {
		t.Fatal("told nobody")
	}
}

// TestLockEndsWithItsProcess holds a lock in a process that is killed.
func TestLockEndsWithItsProcess(t *testing.T) {
	if dir := os.Getenv("BERTH_TEST_LOCK"); dir != "" {
		if _, err := lock(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stdout.WriteString("locked\n"); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithItsProcess$")
	cmd.Env = append(os.Environ(), "BERTH_TEST_LOCK="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Fatalf("not locked: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("it ended well")
	}
	f, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
