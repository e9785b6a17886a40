package sys

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// PidfdOpen returns a file that stands for a process and for no later one with its number (pidfd_open(2), Linux 5.3).
func PidfdOpen(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// PidfdSignal sends a signal through a pidfd.
func PidfdSignal(pidfd *os.File, sig syscall.Signal) error {
	return withFd(pidfd, func(fd int) error { return unix.PidfdSendSignal(fd, sig, nil, 0) })
}
