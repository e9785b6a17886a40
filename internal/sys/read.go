package sys

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// ReadRegular reads a regular file of at most max bytes. What else may be at that path is not waited for: it is
// errdefs.ErrInvalid, as is a file that is larger.
func ReadRegular(path string, max int64) (_ []byte, err error) {
	f, err := Openat2(nil, path, os.O_RDONLY|syscall.O_NONBLOCK, 0, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errdefs.Invalid("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > max {
		return nil, errdefs.Invalid("%s is larger than %d bytes", path, max)
	}
	return data, nil
}
