package sys

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel's bounds on a file's list of extended attributes and on one value (limits.h: XATTR_LIST_MAX, XATTR_SIZE_MAX).
const maxXattrs, maxXattr = 64 << 10, 64 << 10

// CopyXattrs gives a file those extended attributes of another whose names keep accepts. A file system without extended
// attributes has none to give.
func CopyXattrs(from, to *os.File, keep func(name string) bool) error {
	return withFd(from, func(src int) error {
		return withFd(to, func(dst int) error { return copyXattrs(src, dst, keep) })
	})
}

// CopyXattrs gives the folder itself those of another; see [CopyXattrs].
func (d *Dir) CopyXattrs(from *Dir, keep func(name string) bool) error {
	return copyXattrs(from.fd, d.fd, keep)
}

func copyXattrs(from, to int, keep func(name string) bool) error {
	size, err := unix.Flistxattr(from, nil)
	if errors.Is(err, unix.ENOTSUP) || err == nil && size == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	names := make([]byte, maxXattrs) // it may have grown
	if size, err = unix.Flistxattr(from, names); err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	value := make([]byte, maxXattr)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:size]), "\x00"), "\x00") {
		if !keep(name) {
			continue
		}
		n, err := unix.Fgetxattr(from, name, value)
		if err == nil {
			err = fsetxattr(to, name, string(value[:n]))
		}
		if err != nil {
			return fmt.Errorf("copy extended attribute %.100q: %w", name, err)
		}
	}
	return nil
}

// SetxattrAt sets an extended attribute of the very file that an O_PATH file refers to, be it a link.
func SetxattrAt(f *os.File, name, value string) error {
	return withFd(f, func(fd int) error {
		return retry(func() error { return unix.Setxattr(fdPath(fd), name, []byte(value), 0) })
	})
}

// GetxattrAt returns an extended attribute, of at most 4 KiB, of the very file that an O_PATH file refers to, be it a link.
func GetxattrAt(f *os.File, name string) (value string, err error) {
	err = withFd(f, func(fd int) error {
		buf := make([]byte, 4096)
		n, err := unix.Getxattr(fdPath(fd), name, buf)
		if err == nil {
			value = string(buf[:n])
		}
		return err
	})
	return value, err
}

// PathOf returns where an open file is, as the caller's mount namespace has it.
func PathOf(f *os.File) (path string, err error) {
	err = withFd(f, func(fd int) (err error) {
		path, err = os.Readlink(fdPath(fd))
		return err
	})
	return path, err
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
