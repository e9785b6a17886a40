package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// MapShared maps the first size bytes of f into memory: what is written there is in the file at once, also if the
// process is killed the next moment. The mapping lasts as long as the process unless Unmap is called.
func MapShared(f *os.File, size int) ([]byte, error) {
	var mem []byte
	err := withFd(f, func(fd int) (err error) {
		mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		return err
	})
	return mem, err
}

// Unmap undoes [MapShared].
func Unmap(mem []byte) error { return unix.Munmap(mem) }
