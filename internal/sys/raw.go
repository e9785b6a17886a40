package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// Raw is a bare descriptor: no finalizer, no registration with Go's poller, 4 bytes. It is for programs that hold
// thousands and drive them from an epoll set of their own ([Poller]); everyone else uses *os.File. Its one owner
// closes it once. NoFile stands for none.
type Raw int32

// NoFile is the Raw that is not open.
const NoFile Raw = -1

// RawDup returns a duplicate of f that the caller owns.
func RawDup(f *os.File) (Raw, error) {
	raw := NoFile
	err := withFd(f, func(n int) error {
		return retry(func() error {
			fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 3)
			if err == nil {
				raw = Raw(fd)
			}
			return err
		})
	})
	return raw, err
}

// RawOpen opens a path, close-on-exec.
func RawOpen(path string, flags int) (Raw, error) {
	fd, err := openat(unix.AT_FDCWD, path, flags, 0)
	return Raw(fd), err
}

// Dup returns a duplicate that the caller owns.
func (r Raw) Dup() (Raw, error) {
	fd, err := unix.FcntlInt(uintptr(r), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return NoFile, err
	}
	return Raw(fd), nil
}

// File turns r into an *os.File, which owns it from now on.
func (r Raw) File(name string) *os.File { return os.NewFile(uintptr(r), name) }

// Close closes the descriptor. On NoFile it does nothing.
func (r Raw) Close() error {
	if r < 0 {
		return nil
	}
	return unix.Close(int(r))
}

// Read reads into p: 0 is the end of the file, EAGAIN that there is nothing now.
func (r Raw) Read(p []byte) (n int, err error) {
	err = retry(func() error { n, err = unix.Read(int(r), p); return err })
	return max(n, 0), err
}

// Write writes as much of p as fits now.
func (r Raw) Write(p []byte) (n int, err error) {
	err = retry(func() error { n, err = unix.Write(int(r), p); return err })
	return max(n, 0), err
}

// ReadSplit reads into a and then, without a gap, into b, in one call of the kernel.
func (r Raw) ReadSplit(a, b []byte) (n int, err error) {
	iov := make([][]byte, 0, 2)
	for _, p := range [][]byte{a, b} {
		if len(p) > 0 {
			iov = append(iov, p)
		}
	}
	err = retry(func() error { n, err = unix.Readv(int(r), iov); return err })
	return max(n, 0), err
}

// SetNonblock sets or clears O_NONBLOCK, on the open file that all duplicates share.
func (r Raw) SetNonblock(on bool) error { return unix.SetNonblock(int(r), on) }

// SetSize sets the size of the terminal whose master (or slave) this is, in characters.
func (r Raw) SetSize(width, height uint16) error {
	return unix.IoctlSetWinsize(int(r), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
}
