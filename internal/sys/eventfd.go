package sys

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Eventfd returns a counter that becomes readable when somebody adds to it (eventfd(2)). The caller closes it.
func Eventfd() (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return os.NewFile(uintptr(fd), "eventfd"), nil
}

// DrainEventfd sets the counter back to zero.
func DrainEventfd(f *os.File) error {
	err := withFd(f, func(fd int) error {
		_, err := unix.Read(fd, make([]byte, 8))
		return err
	})
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	return err
}

// CgroupEvent asks for event to be added to whenever what file, a control file of a v1 group, tells of happens
// (Documentation/admin-guide/cgroup-v1/memcg_test.rst and memory.rst, "cgroup.event_control").
func CgroupEvent(group *Dir, event, file *os.File) error {
	return withFd(event, func(e int) error {
		return withFd(file, func(f int) error {
			return group.WriteFile("cgroup.event_control", strconv.Itoa(e)+" "+strconv.Itoa(f))
		})
	})
}
