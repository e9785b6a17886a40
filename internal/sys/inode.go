package sys

import (
	"errors"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RawFile is a file being written, without the finalizer and poller of *os.File: for those who make many. It must be
// closed, once.
type RawFile struct{ fd int }

// Create makes the file called name, which must not exist. The mode is subject to the umask.
func (d *Dir) Create(name string, mode uint32) (RawFile, error) {
	fd, err := openat(d.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, mode)
	return RawFile{fd: fd}, err
}

// Write writes all of p.
func (f RawFile) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(f.fd, p[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// Skip moves the position on by n bytes; if nothing is written there, they read as zeros and take no space.
func (f RawFile) Skip(n int64) error {
	_, err := unix.Seek(f.fd, n, unix.SEEK_CUR)
	return err
}

// Truncate sets the size.
func (f RawFile) Truncate(size int64) error {
	return retry(func() error { return unix.Ftruncate(f.fd, size) })
}

// Chown sets the owner.
func (f RawFile) Chown(uid, gid uint32) error { return fchown(f.fd, uid, gid) }

// Chmod sets the twelve permission bits.
func (f RawFile) Chmod(mode uint32) error {
	return retry(func() error { return unix.Fchmod(f.fd, mode) })
}

// Setxattr sets an extended attribute.
func (f RawFile) Setxattr(name, value string) error { return fsetxattr(f.fd, name, value) }

// SetTimes sets both times to t.
func (f RawFile) SetTimes(t time.Time) error { return futimens(f.fd, t) }

// StartWriteback asks the kernel to begin to write what is dirty of the file, without waiting.
func (f RawFile) StartWriteback() error {
	return retry(func() error { return unix.SyncFileRange(f.fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) })
}

// Close closes the file.
func (f RawFile) Close() error { return unix.Close(f.fd) }

// Chown sets the folder's own owner.
func (d *Dir) Chown(uid, gid uint32) error { return fchown(d.fd, uid, gid) }

// Chmod sets the folder's own permission bits.
func (d *Dir) Chmod(mode uint32) error {
	return retry(func() error { return unix.Fchmod(d.fd, mode) })
}

// Setxattr sets an extended attribute of the folder itself.
func (d *Dir) Setxattr(name, value string) error { return fsetxattr(d.fd, name, value) }

// Getxattr returns an extended attribute of the folder itself; ENODATA if it has none of that name.
func (d *Dir) Getxattr(name string) (string, error) {
	buf := make([]byte, 64<<10) // the kernel's bound, XATTR_SIZE_MAX
	n, err := unix.Fgetxattr(d.fd, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// SetTimes sets both times of the folder itself to t.
func (d *Dir) SetTimes(t time.Time) error { return futimens(d.fd, t) }

// ChownAt sets the owner of name, which may be a symbolic link.
func (d *Dir) ChownAt(name string, uid, gid uint32) error {
	return retry(func() error { return unix.Fchownat(d.fd, name, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW) })
}

// ChmodAt sets the permission bits of name through an O_PATH opening of it, so that a link is refused, not followed.
func (d *Dir) ChmodAt(name string, mode uint32) error {
	fd, err := openat(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	n := Dir{fd: fd}
	return errors.Join(retry(func() error { return unix.Chmod(n.Path(), mode) }), unix.Close(fd))
}

// SetTimesAt sets both times of name, which may be a symbolic link, to t.
func (d *Dir) SetTimesAt(name string, t time.Time) error {
	ts := timespec(t)
	both := []unix.Timespec{ts, ts}
	return retry(func() error { return unix.UtimesNanoAt(d.fd, name, both, unix.AT_SYMLINK_NOFOLLOW) })
}

// Symlink makes a symbolic link called name.
func (d *Dir) Symlink(target, name string) error {
	return retry(func() error { return unix.Symlinkat(target, d.fd, name) })
}

// Link makes name in d another name of the file old in from; a symbolic link is linked itself.
func (d *Dir) Link(from *Dir, old, name string) error {
	return retry(func() error { return unix.Linkat(from.fd, old, d.fd, name, 0) })
}

// Mknod makes a device node, FIFO or the like; mode holds the type too (syscall.S_IFCHR) and is subject to the umask.
func (d *Dir) Mknod(name string, mode, major, minor uint32) error {
	return retry(func() error { return unix.Mknodat(d.fd, name, mode, int(unix.Mkdev(major, minor))) })
}

// RenameNew moves old in d to name in to, and fails with EEXIST if that exists (renameat2(2), RENAME_NOREPLACE).
func (d *Dir) RenameNew(old string, to *Dir, name string) error {
	return retry(func() error { return unix.Renameat2(d.fd, old, to.fd, name, unix.RENAME_NOREPLACE) })
}

// Lstat describes name.
func (d *Dir) Lstat(name string) (syscall.Stat_t, error) {
	var st syscall.Stat_t
	err := retry(func() error {
		return unix.Fstatat(d.fd, name, (*unix.Stat_t)(unsafe.Pointer(&st)), unix.AT_SYMLINK_NOFOLLOW)
	})
	return st, err
}

// IsDevice tells whether st is a character device of these numbers.
func IsDevice(st *syscall.Stat_t, major, minor uint32) bool {
	return st.Mode&syscall.S_IFMT == syscall.S_IFCHR && uint64(st.Rdev) == unix.Mkdev(major, minor)
}

// OpenDirInRoot opens the folder at path as a process whose root is d would: links are followed, and end in d.
func (d *Dir) OpenDirInRoot(path string) (*Dir, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, err := openat2(d.fd, path, &how)
	if err != nil {
		return nil, err
	}
	return &Dir{fd: fd}, nil
}

// Realpath returns the path of the folder as the kernel has it now.
func (d *Dir) Realpath() (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Readlink(d.Path(), buf)
	if err == nil && n == len(buf) {
		err = unix.ENAMETOOLONG
	}
	return string(buf[:max(n, 0)]), err
}

// Sync writes the folder's names to the disk.
func (d *Dir) Sync() error { return retry(func() error { return unix.Fsync(d.fd) }) }

// SyncFS writes everything of the folder's file system to the disk; errors of the writing are reported (Linux 5.8).
func (d *Dir) SyncFS() error { return retry(func() error { return unix.Syncfs(d.fd) }) }

// Lock takes an exclusive lock on the folder, or fails with EWOULDBLOCK. Closing d drops it.
func (d *Dir) Lock() error {
	return retry(func() error { return unix.Flock(d.fd, unix.LOCK_EX|unix.LOCK_NB) })
}

// LockWait is Lock that waits.
func (d *Dir) LockWait() error {
	return retry(func() error { return unix.Flock(d.fd, unix.LOCK_EX) })
}

// Unlock drops the lock.
func (d *Dir) Unlock() error { return unix.Flock(d.fd, unix.LOCK_UN) }

// IsAt tells whether path still leads to this folder.
func (d *Dir) IsAt(path string) (bool, error) {
	var own, there unix.Stat_t
	if err := retry(func() error { return unix.Fstat(d.fd, &own) }); err != nil {
		return false, err
	}
	err := retry(func() error { return unix.Stat(path, &there) })
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return own.Dev == there.Dev && own.Ino == there.Ino, err
}

func fchown(fd int, uid, gid uint32) error {
	return retry(func() error { return unix.Fchown(fd, int(uid), int(gid)) })
}

func fsetxattr(fd int, name, value string) error {
	return retry(func() error { return unix.Fsetxattr(fd, name, []byte(value), 0) })
}

func timespec(t time.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// futimens is utimensat(2) without a path, which x/sys has no form for.
func futimens(fd int, t time.Time) error {
	ts := timespec(t)
	both := [2]unix.Timespec{ts, ts}
	for {
		_, _, errno := syscall.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&both[0])), 0, 0, 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}

// OpenDirBeneathSameFS opens the folder called name if it is on the same mount as d; else it fails with EXDEV.
func (d *Dir) OpenDirBeneathSameFS(name string) (*Dir, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, err := openat2(d.fd, name, &how)
	if err != nil {
		return nil, err
	}
	return &Dir{fd: fd}, nil
}

// ClearImmutable takes the immutable and append-only attributes off a file or folder (chattr -i -a); on things or file
// systems without attributes it does nothing.
func (d *Dir) ClearImmutable(name string) error {
	st, err := d.Lstat(name)
	if err != nil {
		return err
	}
	if t := st.Mode & syscall.S_IFMT; t != syscall.S_IFREG && t != syscall.S_IFDIR {
		return nil // opening a device or a FIFO has effects, and they have no attributes
	}
	fd, err := openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	const stubborn = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND // the same bits as FS_IMMUTABLE_FL, FS_APPEND_FL
	if err == nil && flags&stubborn != 0 {
		err = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags&^stubborn))
	}
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
	}
	return errors.Join(err, unix.Close(fd))
}
