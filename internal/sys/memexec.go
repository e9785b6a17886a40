package sys

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ExecutableMemory returns a file in memory that holds a program, open for reading alone, as execve wants it (ETXTBSY).
func ExecutableMemory(name string, program []byte) (_ *os.File, err error) {
	// A child that is forked meanwhile would hold the writable descriptor until its execve.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := write(fd, program); err != nil {
		return nil, err
	}
	return os.Open("/proc/self/fd/" + strconv.Itoa(fd))
}
