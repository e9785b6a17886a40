package resctrl

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

const maxMountinfo = 64 << 20

// Find returns where resctrl is mounted; ErrNotSupported if it is not.
func Find() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxMountinfo))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("read mounts: %w", err)
	}
	if at := mountOf(string(data)); at != "" {
		return at, nil
	}
	return "", errdefs.NotSupported("no resctrl file system is mounted (mount -t resctrl resctrl /sys/fs/resctrl)")
}

// mountOf looks for resctrl in a mountinfo (proc(5)). Its path can have no blanks in it where anybody mounts it.
func mountOf(mountinfo string) string {
	for line := range strings.Lines(mountinfo) {
		mount, kind, ok := strings.Cut(line, " - ")
		fields := strings.Fields(mount)
		if ok && len(fields) > 4 && strings.HasPrefix(kind, "resctrl ") && fields[3] == "/" {
			return fields[4]
		}
	}
	return ""
}

// FS is a mounted resctrl.
type FS struct {
	root         string
	mkdir, rmdir func(dir *sys.Dir, name string) error
}

// At returns the file system that is mounted on root.
func At(root string) *FS {
	return &FS{
		root:  root,
		mkdir: func(d *sys.Dir, name string) error { return d.Mkdir(name, 0o755) },
		rmdir: func(d *sys.Dir, name string) error { return d.Rmdir(name) },
	}
}

// in calls f with a folder of the file system, given by its path from the root, "" for the root itself.
func (s *FS) in(path string, f func(*sys.Dir) error) error {
	root, err := sys.OpenDir(s.root)
	if err != nil {
		return err
	}
	if path == "" {
		return errors.Join(f(root), root.Close())
	}
	dir, err := root.OpenDirBeneath(path)
	if err != nil {
		return errors.Join(err, root.Close())
	}
	return errors.Join(f(dir), dir.Close(), root.Close())
}
