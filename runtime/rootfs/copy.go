package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// CopyFolder copies what is in a folder, with owners, modes, times of change, extended attributes and holes, into another,
// which gets those of the first. The source is hostile: it is walked by descriptors, no link of it is followed, and nothing of
// it is opened but folders and regular files. Devices and sockets are left out, and attributes that mean something to the host
// (trusted.*, labels of security modules).
func CopyFolder(from, to *sys.Dir) error { return copyFolder(from, to, 0) }

// maxDepth bounds the recursion: deeper folders can't be named by one path anyway (PATH_MAX).
const maxDepth = 2048

func copyFolder(from, to *sys.Dir, depth int) error {
	if depth > maxDepth {
		return errdefs.New(errdefs.ErrExhausted, "the image's folders are nested more than %d deep", maxDepth)
	}
	entries, err := from.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := copyEntry(from, to, e.Name(), depth); err != nil {
			return fmt.Errorf("copy %s: %w", e.Name(), err)
		}
	}
	st, err := from.Stat()
	if err != nil {
		return err
	}
	return errors.Join(to.Chown(st.Uid, st.Gid), to.Chmod(st.Mode&0o7777), to.CopyXattrs(from, keepXattr), to.SetTimes(modified(st)))
}

func modified(st syscall.Stat_t) time.Time { return time.Unix(st.Mtim.Unix()) }

// keepXattr accepts what belongs to the file's content and rights: file capabilities, ACLs, and what users wrote.
func keepXattr(name string) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

func copyEntry(from, to *sys.Dir, name string, depth int) error {
	st, err := from.Lstat(name)
	if err != nil {
		return err
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		return copySubfolder(from, to, name, depth)
	case syscall.S_IFREG:
		return copyFile(from, to, name, st)
	case syscall.S_IFLNK:
		target, err := readLink(from, name)
		if err != nil {
			return err
		}
		return errors.Join(to.Symlink(target, name), to.ChownAt(name, st.Uid, st.Gid), to.SetTimesAt(name, modified(st)))
	case syscall.S_IFIFO:
		return errors.Join(to.Mknod(name, st.Mode, 0, 0), to.ChownAt(name, st.Uid, st.Gid), to.SetTimesAt(name, modified(st)))
	}
	return nil // devices and sockets of an image mean nothing in a volume
}

func readLink(from *sys.Dir, name string) (string, error) {
	link, err := from.Open(name, sys.OPath|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	target, err := sys.Readlink(link)
	return target, errors.Join(err, link.Close())
}

func copySubfolder(from, to *sys.Dir, name string, depth int) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	source, err := from.OpenDir(name)
	if err != nil {
		return err
	}
	cu.Add(source.Close)
	if err := to.Mkdir(name, 0o700); err != nil {
		return err
	}
	target, err := to.OpenDir(name)
	if err != nil {
		return err
	}
	cu.Add(target.Close)
	return copyFolder(source, target, depth+1)
}

func copyFile(from, to *sys.Dir, name string, st syscall.Stat_t) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	source, err := from.Open(name, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	cu.Add(source.Close)
	target, err := to.Open(name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	cu.Add(target.Close)
	if err := copyData(source, target, st.Size); err != nil {
		return err
	}
	// The owner first: changing it takes the setuid bit and capabilities away.
	return errors.Join(to.ChownAt(name, st.Uid, st.Gid), target.Chmod(fs.FileMode(st.Mode&0o777)|specialBits(st.Mode)),
		sys.CopyXattrs(source, target, keepXattr), to.SetTimesAt(name, modified(st)))
}

// Places that lseek(2) finds.
const seekData, seekHole = 3, 4

// copyData copies what of the first size bytes is not a hole.
func copyData(from, to *os.File, size int64) error {
	for at := int64(0); at < size; {
		data, err := from.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) { // no more of it
			break
		}
		if err != nil {
			return err
		}
		if at, err = from.Seek(data, seekHole); err != nil {
			return err
		}
		if _, err := from.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := to.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := to.ReadFrom(io.LimitReader(from, at-data)); err != nil {
			return err
		}
	}
	return to.Truncate(size)
}

func specialBits(mode uint32) (out fs.FileMode) {
	for bit, m := range map[uint32]fs.FileMode{
		syscall.S_ISUID: fs.ModeSetuid, syscall.S_ISGID: fs.ModeSetgid, syscall.S_ISVTX: fs.ModeSticky,
	} {
		if mode&bit != 0 {
			out |= m
		}
	}
	return out
}
