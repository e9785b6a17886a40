package netns

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Own returns the network namespace of the calling thread as an open file, which the caller closes.
//
// A socket tells it (SIOCGSKNS, Linux 4.10), not /proc/thread-self: every thread that has looked itself up there leaves entries of
// its own, and the parent of a process that ends waits until all of them are taken away, for milliseconds on a busy machine
// (proc_flush_pid in fs/proc/base.c). Without CAP_NET_ADMIN, which the ioctl asks for, /proc it is.
func Own() (*os.File, error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open own network namespace: %w", err)
	}
	fd, err := unix.IoctlRetInt(s, unix.SIOCGSKNS)
	switch closeErr := unix.Close(s); {
	case err == nil:
		f := os.NewFile(uintptr(fd), "own network namespace")
		if closeErr != nil {
			return nil, closeAfter(fmt.Errorf("open own network namespace: %w", closeErr), f)
		}
		return f, nil
	case errors.Is(err, unix.EPERM):
		f, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return nil, fmt.Errorf("open own network namespace: %w", err)
		}
		return f, nil
	}
	return nil, fmt.Errorf("open own network namespace: %w", err)
}
