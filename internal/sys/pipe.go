package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// Mkfifo makes a FIFO of the given owner, readable and writable by it alone.
func Mkfifo(path string, uid, gid uint32) error {
	if err := retry(func() error { return unix.Mkfifo(path, 0o600) }); err != nil {
		return err
	}
	return os.Lchown(path, int(uid), int(gid))
}

// RawPipe returns an anonymous pipe whose two ends don't block.
func RawPipe() (r, w Raw, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return NoFile, NoFile, err
	}
	return Raw(p[0]), Raw(p[1]), nil
}

// Tee copies up to n bytes from one pipe to another without taking them out of the first (tee(2)). EAGAIN: it is empty.
func Tee(from, to Raw, n int) (copied int, err error) {
	err = retry(func() error {
		m, err := unix.Tee(int(from), int(to), n, unix.SPLICE_F_NONBLOCK)
		copied = int(m)
		return err
	})
	return max(copied, 0), err
}

// BlockingPipe returns an anonymous pipe whose ends block, as a child that inherits one expects.
func BlockingPipe() (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(p[0]), "pipe"), os.NewFile(uintptr(p[1]), "pipe"), nil
}
