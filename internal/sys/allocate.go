package sys

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Allocate gives a range of a file its space now, so that writing there, through a mapping too, can't fail for want of it
// (fallocate(2)). File systems that can't do that are taken at their word: it is no error.
func Allocate(f *os.File, offset, length int64) error {
	err := withFd(f, func(fd int) error {
		return retry(func() error { return unix.Fallocate(fd, 0, offset, length) })
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}
