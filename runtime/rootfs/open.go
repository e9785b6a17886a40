package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// resolve is how every path is looked up: below the root whatever links say, and never through /proc's magic ones.
const resolve = sys.ResolveInRoot | sys.ResolveNoMagiclinks

// Open opens path in root as a place only (O_PATH): nothing of its content can be read through it, no driver is woken and
// no FIFO waited for.
func Open(root *os.File, path string) (*os.File, error) {
	f, err := sys.Openat2(root, inside(path), sys.OPath, 0, resolve)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}

// Stat describes the file at path in root.
func Stat(root *os.File, path string) (fs.FileInfo, error) {
	f, err := Open(root, path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	return info, errors.Join(err, f.Close())
}

// ReadFile returns the content of a regular file of at most limit bytes. One that is larger, or no regular file, is
// ErrInvalid; one that is missing fs.ErrNotExist.
func ReadFile(root *os.File, path string, limit int64) (_ []byte, err error) {
	// O_NONBLOCK: opening a FIFO must not wait for its writer. The type is known for sure only of an open file.
	f, err := sys.Openat2(root, inside(path), syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0, resolve)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errdefs.Invalid("read %s: not a regular file but %s", path, info.Mode().Type())
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, errdefs.Invalid("read %s: larger than %d bytes", path, limit)
	}
	return data, nil
}

// inside turns an absolute path into one that openat2 takes relative to the root.
func inside(path string) string {
	path = strings.TrimLeft(path, "/")
	if path == "" {
		return "."
	}
	return path
}
