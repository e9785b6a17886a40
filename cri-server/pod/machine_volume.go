package pod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

// CopyUp makes target, which must not exist yet, with what the image has at path: that is how a VOLUME begins. What is not
// in the image begins empty. A target that exists was filled before.
//
// The image is hostile: it is walked by descriptors, no link of it is followed below path, and nothing of it is opened but
// folders and regular files.
func (linux) CopyUp(root *os.File, path, target string, uid, gid int) (err error) {
	if _, err := os.Lstat(target); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return err
	}
	// Under another name until it is whole, so that one half filled is not taken for a volume after a crash.
	half := target + ".new"
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	if err := os.Mkdir(half, 0o755); err != nil {
		return err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { return os.RemoveAll(half) })
	if err := os.Chown(half, uid, gid); err != nil {
		return err
	}
	if err := fillVolume(root, path, half); err != nil {
		return err
	}
	if err := os.Rename(half, target); err != nil {
		return err
	}
	cu.Release()
	return nil
}

func fillVolume(root *os.File, path, into string) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	place, err := rootfs.Open(root, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	cu.Add(place.Close)
	source, err := sys.Reopen(place, syscall.O_RDONLY|syscall.O_DIRECTORY)
	if errors.Is(err, syscall.ENOTDIR) {
		return errdefs.Invalid("%s is not a folder in the image", path)
	}
	if err != nil {
		return err
	}
	cu.Add(source.Close)
	from, err := sys.OpenDir(fmt.Sprintf("/proc/self/fd/%d", source.Fd()))
	if err != nil {
		return err
	}
	cu.Add(from.Close)
	to, err := sys.OpenDir(into)
	if err != nil {
		return err
	}
	cu.Add(to.Close)
	return rootfs.CopyFolder(from, to)
}
