package sys

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// OpenSealed opens a binary through a read-only mount of its own that is attached nowhere: who gets hold of the file, by
// /proc/PID/exe of a process that executes it, can't open it for writing.
func OpenSealed(path string) (*os.File, error) {
	f, err := OpenTree(nil, path, false)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if err := MountSetattr(f, MountAttr{Set: MountRdonly | MountNosuid, Propagation: syscall.MS_PRIVATE}, false); err != nil {
		return nil, errors.Join(fmt.Errorf("make its mount read-only: %w", err), f.Close())
	}
	return f, nil
}

// Readonly tells whether the file at path is on a mount that can't be written to.
func Readonly(path string) (bool, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &st) }); err != nil {
		return false, err
	}
	return st.Flags&unix.ST_RDONLY != 0, nil
}
