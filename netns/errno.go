package netns

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// retry calls f again when a signal interrupted it.
func retry[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

// closeAfter closes c and joins what that returns to err.
func closeAfter(err error, c io.Closer) error { return errors.Join(err, c.Close()) }

// sysctlKind tells a key or value that can't be right from trouble of the node.
func sysctlKind(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EISDIR):
		return errdefs.ErrInvalid
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return errdefs.ErrPermission
	}
	return errdefs.ErrUnavailable
}
