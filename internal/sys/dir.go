package sys

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dir is an open folder that names are resolved against. Its methods take one name, or a path below the folder where
// they say so, and never follow a symbolic link. Unlike *os.File it has no finalizer and no poller, which makes it
// cheap enough to open one per folder of a layer; so it must be closed, once. A Dir may be used by many goroutines.
type Dir struct{ fd int }

// OpenDir opens a folder by path, following links.
func OpenDir(path string) (*Dir, error) {
	return openDir(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY)
}

func openDir(at int, name string, flags int) (*Dir, error) {
	fd, err := openat(at, name, flags, 0)
	if err != nil {
		return nil, err
	}
	return &Dir{fd: fd}, nil
}

func openat(at int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(at, name, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// Close closes the folder; a second call does nothing.
func (d *Dir) Close() error {
	fd := d.fd
	if fd < 0 {
		return nil
	}
	d.fd = -1
	return unix.Close(fd)
}

// Path names the folder for calls that take nothing but paths. It is valid while the Dir is open, in this process.
func (d *Dir) Path() string { return "/proc/self/fd/" + strconv.Itoa(d.fd) }

// File returns a new, independent *os.File of the folder.
func (d *Dir) File(name string) (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// OpenDir opens the folder called name.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	return openDir(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
}

// OpenDirBeneath opens the folder at a path of any depth; no component may be a link or lead out (openat2, Linux 5.6).
func (d *Dir) OpenDirBeneath(path string) (*Dir, error) {
	fd, err := d.openBeneath(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return &Dir{fd: fd}, nil
}

// OpenBeneath opens the existing file at a path of any depth, resolved as by OpenDirBeneath.
func (d *Dir) OpenBeneath(path string, flags int) (*os.File, error) {
	fd, err := d.openBeneath(path, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (d *Dir) openBeneath(path string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	return openat2(d.fd, path, &how)
}

// Open opens the file called name; flags as in open(2), O_CLOEXEC and O_NOFOLLOW are added.
func (d *Dir) Open(name string, flags int, mode uint32) (*os.File, error) {
	fd, err := openat(d.fd, name, flags|unix.O_NOFOLLOW, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ReadFile returns the content of a file of at most max bytes; one that is longer is an error (EFBIG).
func (d *Dir) ReadFile(name string, max int) ([]byte, error) {
	fd, err := openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	data, err := readAll(fd, max)
	return data, errors.Join(err, unix.Close(fd))
}

func readAll(fd, max int) ([]byte, error) {
	buf := make([]byte, 0, min(512, max+1))
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := read(fd, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case err != nil:
			return nil, err
		case len(buf) > max:
			return nil, unix.EFBIG
		case n == 0:
			return buf, nil
		}
	}
}

func read(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// WriteFile writes data to an existing file by a single write(2), as control files in cgroup and proc want it.
func (d *Dir) WriteFile(name, data string) error {
	fd, err := openat(d.fd, name, unix.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(write(fd, []byte(data)), unix.Close(fd))
}

// WriteLines writes each line by a write(2) of its own to one opening of an existing file.
func (d *Dir) WriteLines(name string, lines []string) error {
	fd, err := openat(d.fd, name, unix.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if err = write(fd, []byte(line)); err != nil {
			break
		}
	}
	return errors.Join(err, unix.Close(fd))
}

func write(fd int, p []byte) error {
	for {
		n, err := unix.Write(fd, p)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n != len(p):
			return io.ErrShortWrite
		}
		return nil
	}
}

// Mkdir makes a folder. The mode is subject to the umask.
func (d *Dir) Mkdir(name string, mode uint32) error {
	return retry(func() error { return unix.Mkdirat(d.fd, name, mode) })
}

// Rmdir removes an empty folder.
func (d *Dir) Rmdir(name string) error {
	return retry(func() error { return unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR) })
}

// RmdirBeneath removes the empty folder at a path of any depth, resolved as by OpenDirBeneath.
func (d *Dir) RmdirBeneath(path string) error {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return d.Rmdir(path)
	}
	parent, err := d.OpenDirBeneath(path[:i])
	if err != nil {
		return err
	}
	return errors.Join(parent.Rmdir(path[i+1:]), parent.Close())
}

// Unlink removes a name that is no folder.
func (d *Dir) Unlink(name string) error {
	return retry(func() error { return unix.Unlinkat(d.fd, name, 0) })
}

// Names lists the folder's entries, in no order, without "." and "..".
func (d *Dir) Names() ([]string, error) {
	f, err := d.reopen()
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

// Entries lists the folder's entries with their types, in no order.
func (d *Dir) Entries() ([]fs.DirEntry, error) {
	f, err := d.reopen()
	if err != nil {
		return nil, err
	}
	entries, err := f.ReadDir(-1)
	return entries, errors.Join(err, f.Close())
}

// reopen gives a reading position of its own, so that concurrent listings don't disturb each other.
func (d *Dir) reopen() (*os.File, error) {
	fd, err := openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "."), nil
}

// Stat describes the folder itself.
func (d *Dir) Stat() (syscall.Stat_t, error) {
	var st syscall.Stat_t
	err := retry(func() error { return syscall.Fstat(d.fd, &st) })
	runtime.KeepAlive(d)
	return st, err
}
