// Package bounded reads whole files that others may have put in place of those that are meant: it waits for no writer of a FIFO, follows no link
// where none belongs, and takes no more into memory than it is told. What it looked at is what it reads, as it does both by one descriptor. It owns
// nothing.
package bounded

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Record reads a file that only programs like the caller write: a regular one of at most limit bytes. Anything else, a link too, gives ErrDataLoss; a
// file that is not there an error that wraps fs.ErrNotExist, or ENAMETOOLONG if there can be none.
func Record(path string, limit int) (data []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) { // a link, a socket
		return nil, noRecord(path, limit)
	}
	if err != nil {
		return nil, err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(f.Close)
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, noRecord(path, limit)
	}
	if data, err = io.ReadAll(io.LimitReader(f, int64(limit)+1)); err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, noRecord(path, limit)
	}
	return data, nil
}

func noRecord(path string, limit int) error {
	return errdefs.New(errdefs.ErrDataLoss, "%s is no regular file of at most %d bytes; remove it", path, limit)
}

// Setting reads a file that the administrator named, wherever links lead, of at most limit bytes; a larger one gives ErrInvalid.
func Setting(path string, limit int) (data []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(f.Close)
	if data, err = io.ReadAll(io.LimitReader(f, int64(limit)+1)); err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, errdefs.Invalid("%s is larger than %d bytes", path, limit)
	}
	return data, nil
}
