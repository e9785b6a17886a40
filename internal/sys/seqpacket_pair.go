package sys

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// SeqpacketPair returns two connected sockets: one to use here, and one to hand to another process.
func SeqpacketPair() (*Seqpacket, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	here, err := newSeqpacket(fds[0], "socket pair")
	if err != nil {
		return nil, nil, errors.Join(err, unix.Close(fds[1]))
	}
	return here, os.NewFile(uintptr(fds[1]), "socket pair"), nil
}

// SendFilePacket sends one packet with a file, which stays the caller's. It does not wait: a fresh pair has room for it.
func SendFilePacket(socket Raw, data []byte, f *os.File) error {
	return withFd(f, func(fd int) error {
		return retry(func() error {
			return unix.Sendmsg(int(socket), data, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		})
	})
}
