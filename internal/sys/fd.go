package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// withFd calls f with the number of a file, which stays open meanwhile; nil is AT_FDCWD. Unlike File.Fd it leaves the
// file's mode alone.
func withFd(file *os.File, f func(fd int) error) error {
	if file == nil {
		return f(unix.AT_FDCWD)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	if err := raw.Control(func(fd uintptr) { callErr = f(int(fd)) }); err != nil {
		return err
	}
	return callErr
}

// Dup returns an independent *os.File of the same open file.
func Dup(f *os.File) (*os.File, error) {
	var fd int
	err := withFd(f, func(n int) error {
		return retry(func() (err error) { fd, err = unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 3); return err })
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
