package sys_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

func openDir(t *testing.T, path string) *sys.Dir {
	t.Helper()
	d, err := sys.OpenDir(path)
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, d.Close()) })
	return d
}

// TestDirStaysBeneath: no method that takes a name follows a link, and no path leads out.
func TestDirStaysBeneath(t *testing.T) {
	base := t.TempDir()
	testutil.Must(t, os.MkdirAll(filepath.Join(base, "in/deep"), 0o755))
	testutil.Must(t, os.MkdirAll(filepath.Join(base, "out"), 0o755))
	testutil.Must(t, os.WriteFile(filepath.Join(base, "out/f"), []byte("secret"), 0o644))
	testutil.Must(t, os.Symlink("../out", filepath.Join(base, "in/link")))
	testutil.Must(t, os.Symlink("../out/f", filepath.Join(base, "in/file")))
	testutil.Must(t, os.Symlink("/deep", filepath.Join(base, "in/abs")))
	d := openDir(t, filepath.Join(base, "in"))
	for name, call := range map[string]func() error{
		"OpenDir":        func() error { _, err := d.OpenDir("link"); return err },
		"OpenDirBeneath": func() error { _, err := d.OpenDirBeneath("../out"); return err },
		"through a link": func() error { _, err := d.OpenDirBeneath("link"); return err },
		"same fs":        func() error { _, err := d.OpenDirBeneathSameFS("link"); return err },
		"OpenBeneath":    func() error { _, err := d.OpenBeneath("link/f", os.O_RDONLY); return err },
		"Open":           func() error { _, err := d.Open("file", os.O_RDONLY, 0); return err },
		"ReadFile":       func() error { _, err := d.ReadFile("file", 100); return err },
		"WriteFile":      func() error { return d.WriteFile("file", "x") },
		"WriteLines":     func() error { return d.WriteLines("file", []string{"x"}) },
		"Create":         func() error { _, err := d.Create("file", 0o644); return err },
		"in root":        func() error { _, err := d.OpenDirInRoot("link"); return err }, // in/../out is in/out, which is not there
		"RmdirBeneath":   func() error { return d.RmdirBeneath("../out/x") },
		"attributes":     func() error { _, err := d.OpenDirBeneath("/proc/self"); return err },
	} {
		if err := call(); err == nil {
			t.Errorf("%s followed a link, or left the folder", name)
		}
	}
	inside, err := d.OpenDirInRoot("abs")
	testutil.Must(t, err)
	at, err := inside.Realpath()
	testutil.Must(t, err)
	testutil.Must(t, inside.Close())
	if filepath.Base(at) != "deep" {
		t.Errorf("an absolute link in a root leads to %s", at)
	}
	if data, err := os.ReadFile(filepath.Join(base, "out/f")); err != nil || string(data) != "secret" {
		t.Errorf("the file outside holds %q, %v", data, err)
	}
}

func TestDirFiles(t *testing.T) {
	d := openDir(t, t.TempDir())
	f, err := d.Create("f", 0o644)
	testutil.Must(t, err)
	_, err = f.Write([]byte("0123456789"))
	testutil.Must(t, errors.Join(err, f.Skip(4096), f.Truncate(8192), f.Chmod(0o4711), f.SetTimes(time.Unix(-5, 7)), f.Close()))
	st, err := d.Lstat("f")
	testutil.Must(t, err)
	if st.Size != 8192 || st.Mode&0o7777 != 0o4711 || !sys.ModTime(&st).Equal(time.Unix(-5, 7)) {
		t.Errorf("size %d, mode %o, time %s", st.Size, st.Mode, sys.ModTime(&st))
	}
	if _, err := d.Create("f", 0o644); !errors.Is(err, os.ErrExist) {
		t.Errorf("Create over a file = %v", err)
	}
	if _, err := d.ReadFile("f", 8191); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("ReadFile beyond its limit = %v", err)
	}
	data, err := d.ReadFile("f", 8192)
	if err != nil || len(data) != 8192 {
		t.Errorf("ReadFile = %d bytes, %v", len(data), err)
	}
	testutil.Must(t, errors.Join(d.Mkdir("d", 0o755), d.Symlink("x", "s"), d.Link(d, "s", "s2"), d.RenameNew("d", d, "e")))
	if err := d.RenameNew("f", d, "e"); !errors.Is(err, os.ErrExist) {
		t.Errorf("RenameNew over a folder = %v", err)
	}
	if err := d.ChmodAt("s", 0o600); err == nil {
		t.Error("ChmodAt changed a link")
	}
	names, err := d.Names()
	testutil.Must(t, err)
	slices.Sort(names)
	if !slices.Equal(names, []string{"e", "f", "s", "s2"}) {
		t.Errorf("Names = %v", names)
	}
}

// TestWaiter waits on a pidfd, is cancelled, and can be used again.
func TestWaiter(t *testing.T) {
	r, w, err := os.Pipe()
	testutil.Must(t, err)
	defer r.Close()
	defer w.Close()
	waiter, err := sys.NewWaiter()
	testutil.Must(t, err)
	defer waiter.Close()
	testutil.Must(t, waiter.AddReadable(r))
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- waiter.Wait(ctx) }()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Fatalf("Wait when cancelled = %v", err)
		}
		go func() { result <- waiter.Wait(t.Context()) }()
		_, err = w.Write([]byte{1})
		testutil.Must(t, err)
		testutil.Must(t, <-result)
		_, err = r.Read(make([]byte, 1))
		testutil.Must(t, err)
	}
	testutil.Must(t, waiter.Remove(r))
	process, err := os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{})
	testutil.Must(t, err)
	pidfd, err := sys.PidfdOpen(process.Pid)
	testutil.Must(t, err)
	defer pidfd.Close()
	testutil.Must(t, waiter.AddReadable(pidfd))
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := waiter.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait for a living process = %v", err)
	}
	testutil.Must(t, sys.PidfdSignal(pidfd, syscall.SIGKILL))
	testutil.Must(t, waiter.Wait(t.Context()))
	_, err = process.Wait()
	testutil.Must(t, err)
}
