package fork

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// TagListener is the checkpoint of a child that has loaded a seccomp filter with a listener: the value is its descriptor,
// which execve will close.
const TagListener Tag = 2

// File takes a duplicate of the child's descriptor that the checkpoint's value is (pidfd_getfd(2), Linux 5.6).
func (c Checkpoint) File(name string) (*os.File, error) {
	pidfd, err := rawFD(c.Child.Pidfd)
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdGetfd(pidfd, int(c.Value), 0)
	runtime.KeepAlive(c.Child.Pidfd)
	if err != nil {
		return nil, fmt.Errorf("take descriptor %d of process %d: %w", c.Value, c.Child.PID, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
