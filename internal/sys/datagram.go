package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// sendPatience is how many seconds a datagram waits for room with its receiver.
const sendPatience = 2

// SendDatagram sends one message with descriptors, which stay the caller's, to a unix socket: a path, or an abstract name
// behind "@". A receiver whose queue stays full is EAGAIN.
func SendDatagram(socket string, data []byte, files []Raw) (err error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: sendPatience}); err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f)
		}
		rights = unix.UnixRights(fds...)
	}
	return retry(func() error {
		return unix.Sendmsg(fd, data, rights, &unix.SockaddrUnix{Name: socket}, unix.MSG_NOSIGNAL)
	})
}
