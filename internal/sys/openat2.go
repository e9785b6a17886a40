package sys

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// How [Openat2] resolves a path (openat2(2), Linux 5.6).
const (
	ResolveInRoot       = unix.RESOLVE_IN_ROOT
	ResolveBeneath      = unix.RESOLVE_BENEATH
	ResolveNoMagiclinks = unix.RESOLVE_NO_MAGICLINKS
	ResolveNoSymlinks   = unix.RESOLVE_NO_SYMLINKS
	ResolveNoXdev       = unix.RESOLVE_NO_XDEV
)

// OPath opens a file as a place only: no permission on its content is needed, and no driver is woken.
const OPath = unix.O_PATH

// Openat2 opens path relative to root; flags as in open(2), O_CLOEXEC is added.
func Openat2(root *os.File, path string, flags int, mode uint32, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Mode: uint64(mode), Resolve: resolve}
	var fd int
	err := withFd(root, func(dir int) (err error) {
		fd, err = openat2(dir, path, &how)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func openat2(dir int, path string, how *unix.OpenHow) (int, error) {
	for {
		fd, err := unix.Openat2(dir, path, how)
		if err != unix.EINTR && err != unix.EAGAIN { // EAGAIN: a rename raced with the walk
			return fd, err
		}
	}
}

// Reopen opens the very file that an O_PATH file refers to, which no link or rename can change.
func Reopen(f *os.File, flags int) (*os.File, error) {
	var opened *os.File
	err := withFd(f, func(fd int) error {
		path := "/proc/self/fd/" + strconv.Itoa(fd)
		n, err := openat(unix.AT_FDCWD, path, flags, 0)
		if err == nil {
			opened = os.NewFile(uintptr(n), f.Name())
		}
		return err
	})
	return opened, err
}

// Readlink returns the target of the symbolic link that an O_PATH|O_NOFOLLOW file refers to.
func Readlink(f *os.File) (string, error) {
	buf := make([]byte, unix.PathMax)
	var n int
	err := withFd(f, func(fd int) error {
		return retry(func() (err error) { n, err = unix.Readlinkat(fd, "", buf); return err })
	})
	if err == nil && n == len(buf) {
		err = unix.ENAMETOOLONG
	}
	if err != nil {
		return "", err
	}
	return strings.Clone(string(buf[:n])), nil
}

// Mkdirat makes the folder name in dir. The mode is subject to the umask.
func Mkdirat(dir *os.File, name string, mode uint32) error {
	return withFd(dir, func(fd int) error {
		return retry(func() error { return unix.Mkdirat(fd, name, mode) })
	})
}

// Chownat changes the owner of name in dir without following links; "" is dir itself.
func Chownat(dir *os.File, name string, uid, gid int) error {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return withFd(dir, func(fd int) error {
		return retry(func() error { return unix.Fchownat(fd, name, uid, gid, flags) })
	})
}

// FilesystemType returns the magic number of the file system that a file is on (statfs(2)).
func FilesystemType(f *os.File) (int64, error) {
	var st unix.Statfs_t
	err := withFd(f, func(fd int) error {
		return retry(func() error { return unix.Fstatfs(fd, &st) })
	})
	return int64(st.Type), err
}
