package sys

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestReadRegular(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.WriteFile(file, []byte("12345"), 0o600), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	if data, err := ReadRegular(file, 5); err != nil || string(data) != "12345" {
		t.Errorf("%q, %v", data, err)
	}
	for path, want := range map[string]error{file: errdefs.ErrInvalid, fifo: errdefs.ErrInvalid, dir: errdefs.ErrInvalid, "/dev/null": errdefs.ErrInvalid, dir + "/none": os.ErrNotExist} {
		if _, err := ReadRegular(path, 4); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}
