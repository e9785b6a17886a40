package sys

import (
	"errors"
	"fmt"
	"os"
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
