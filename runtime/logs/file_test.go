package logs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("elsewhere", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path string
		want error
	}{
		{dir + "/missing/log", fs.ErrNotExist},
		{dir + "/link", syscall.ELOOP},
		{dir + "/fifo", syscall.ENXIO},
		{dir, syscall.EISDIR},
		{os.DevNull, errdefs.ErrInvalid},
	}
	for _, tt := range tests {
		if l, err := Open(tt.path); !errors.Is(err, tt.want) {
			t.Errorf("open %s: %v, %v; want %v", tt.path, l, err, tt.want)
		}
	}
	if _, err := os.Stat(dir + "/elsewhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link was followed: %v", err)
	}
}

func TestAppendAndReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(0, []byte("one\n")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	next, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Append(0, []byte("two\n")); err != nil {
		t.Fatal(err)
	}
	found, err := Find(path, l.Identity())
	if err != nil {
		t.Fatal(err)
	}
	if err := found.Append(4, []byte("late\n")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{path: "two\n", path + ".old": "one\nlate\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
	if err := os.Remove(path + ".old"); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(path, l.Identity()); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("find a removed log: %v", err)
	}
	if err := errors.Join(l.Close(), next.Close(), found.Close()); err != nil {
		t.Fatal(err)
	}
}

// A log that can't take a whole chunk keeps none of it.
func TestAppendTakesBackHalf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Append(0, []byte("whole\n")); err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 8, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	err = l.Append(6, []byte("half of this does not fit\n"))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EFBIG) {
		t.Fatalf("append beyond the limit: %v", err)
	}
	if size, err := l.Size(); err != nil || size != 6 {
		t.Errorf("%d bytes, %v; want 6", size, err)
	}
}
