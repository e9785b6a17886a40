package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// DialStream connects to the UNIX stream socket at path.
func DialStream(path string) (_ *os.File, err error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := os.NewFile(uintptr(fd), path)
	if err := retry(func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) }); err != nil {
		_ = s.Close() // nothing was written
		return nil, &os.PathError{Op: "connect", Path: path, Err: err}
	}
	return s, nil
}

// SendFile sends one descriptor over a socket, with a text that says what it is.
func SendFile(s *os.File, text string, f *os.File) error {
	return withFd(s, func(to int) error {
		return withFd(f, func(fd int) error {
			return retry(func() error { return unix.Sendmsg(to, []byte(text), unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL) })
		})
	})
}
