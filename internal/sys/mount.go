package sys

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Attributes of a mount, for [Fsmount] and [MountSetattr] (mount_setattr(2), Linux 5.12).
const (
	MountRdonly      = unix.MOUNT_ATTR_RDONLY
	MountNosuid      = unix.MOUNT_ATTR_NOSUID
	MountNodev       = unix.MOUNT_ATTR_NODEV
	MountNoexec      = unix.MOUNT_ATTR_NOEXEC
	MountAtime       = unix.MOUNT_ATTR__ATIME // mask of the three below
	MountRelatime    = unix.MOUNT_ATTR_RELATIME
	MountNoatime     = unix.MOUNT_ATTR_NOATIME
	MountStrictatime = unix.MOUNT_ATTR_STRICTATIME
	MountNodiratime  = unix.MOUNT_ATTR_NODIRATIME
	MountNosymfollow = unix.MOUNT_ATTR_NOSYMFOLLOW
)

// MountAttr is what [MountSetattr] changes; Propagation is one of the syscall.MS_ propagation flags, or 0.
type MountAttr struct {
	Set, Clear  uint64
	Propagation uint64
}

// FSContext is a file system under configuration (fsopen(2), Linux 5.2). It must be closed.
type FSContext struct{ fd int }

// Fsopen starts to configure a new file system of a type ("tmpfs").
func Fsopen(fstype string) (*FSContext, error) {
	var fd int
	err := retry(func() (err error) { fd, err = unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC); return err })
	if err != nil {
		return nil, err
	}
	return &FSContext{fd: fd}, nil
}

// SetString sets an option with a value.
func (c *FSContext) SetString(key, value string) error {
	return retry(func() error { return unix.FsconfigSetString(c.fd, key, value) })
}

// SetFlag sets an option without a value.
func (c *FSContext) SetFlag(key string) error {
	return retry(func() error { return unix.FsconfigSetFlag(c.fd, key) })
}

// Mount makes the file system and returns a detached mount of it with the given attributes.
func (c *FSContext) Mount(name string, attr int) (*os.File, error) {
	if err := retry(func() error { return unix.FsconfigCreate(c.fd) }); err != nil {
		return nil, err
	}
	var fd int
	err := retry(func() (err error) { fd, err = unix.Fsmount(c.fd, unix.FSMOUNT_CLOEXEC, attr); return err })
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Messages returns what the file system has to say about the last failure, as the kernel words it; "" if nothing.
func (c *FSContext) Messages() string {
	var text string
	buf := make([]byte, 1024)
	for {
		n, err := unix.Read(c.fd, buf)
		if err != nil || n <= 0 { // ENODATA: no more; the log is a courtesy, its errors say nothing
			return text
		}
		if text != "" {
			text += "; "
		}
		text += string(buf[:n])
	}
}

// Close drops the context; mounts made from it stay.
func (c *FSContext) Close() error {
	fd := c.fd
	if fd < 0 {
		return nil
	}
	c.fd = -1
	return unix.Close(fd)
}

// OpenTree returns a detached copy of the mount at path, relative to at (nil: the working directory); with recursive, of
// all mounts below it too. An empty path means at itself.
func OpenTree(at *os.File, path string, recursive bool) (*os.File, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	var fd int
	err := withFd(at, func(dir int) error {
		return retry(func() (err error) { fd, err = unix.OpenTree(dir, path, flags); return err })
	})
	if err != nil {
		return nil, err
	}
	name := path
	if name == "" && at != nil {
		name = at.Name()
	}
	return os.NewFile(uintptr(fd), name), nil
}

// MoveMount attaches a detached mount on the file or folder that target refers to.
func MoveMount(mount, target *os.File) error {
	return withFd(mount, func(from int) error {
		return withFd(target, func(to int) error {
			return retry(func() error {
				return unix.MoveMount(from, "", to, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
			})
		})
	})
}

// MountSetattr changes the attributes or the propagation of a mount; with recursive, of all mounts below it too.
func MountSetattr(mount *os.File, attr MountAttr, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return withFd(mount, func(fd int) error {
		return retry(func() error {
			return unix.MountSetattr(fd, "", flags, &unix.MountAttr{Attr_set: attr.Set, Attr_clr: attr.Clear, Propagation: attr.Propagation})
		})
	})
}

// MountIDMap makes a detached mount, that was never attached, show the owners that a user namespace maps its own to; with
// recursive, all mounts below it too (MOUNT_ATTR_IDMAP, Linux 5.12). EINVAL: its file system can't.
func MountIDMap(mount, users *os.File, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return withFd(mount, func(fd int) error {
		return withFd(users, func(ns int) error {
			return retry(func() error {
				return unix.MountSetattr(fd, "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns)})
			})
		})
	})
}

// MountID returns the ID of the mount that a file was opened through, the first field of /proc/self/mountinfo (statx,
// Linux 5.8).
func MountID(f *os.File) (uint64, error) {
	var st unix.Statx_t
	err := withFd(f, func(fd int) error {
		return retry(func() error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st) })
	})
	if err == nil && st.Mask&unix.STATX_MNT_ID == 0 {
		err = errors.ErrUnsupported
	}
	return st.Mnt_id, err
}
