package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DiskSpace is what a file system has, in bytes and inodes. Free is what is left for others than root.
type DiskSpace struct {
	Bytes, BytesFree   uint64
	Inodes, InodesFree uint64
}

// Statfs tells how full the file system of a path is (statfs(2)). File systems without a fixed number of inodes, such as
// btrfs, report none at all.
func Statfs(path string) (DiskSpace, error) {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &s) }); err != nil {
		return DiskSpace{}, fmt.Errorf("statfs %s: %w", path, err)
	}
	unit := uint64(s.Frsize) //nolint:unconvert // its type differs between architectures
	if unit == 0 {
		unit = uint64(s.Bsize)
	}
	return DiskSpace{Bytes: s.Blocks * unit, BytesFree: s.Bavail * unit, Inodes: s.Files, InodesFree: s.Ffree}, nil
}
