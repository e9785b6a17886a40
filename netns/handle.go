package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Handle is an open network namespace with a route netlink socket in it. It may be used by several goroutines, except Close.
type Handle struct {
	file *os.File
	nl   *netlink.Handle
}

// Open opens the network namespace at a path: a pin or /proc/PID/ns/net. A missing file gives ErrNotFound, any other file
// than a network namespace ErrInvalid.
func Open(path string) (h *Handle, err error) {
	f, err := openNamespace(path)
	if err != nil {
		return nil, err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(f.Close)
	h = &Handle{file: f}
	if err := h.Do(h.openSocket); err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	cu.Release()
	return h, nil
}

// Current opens the network namespace of the calling process.
func Current() (*Handle, error) {
	f, err := Own()
	if err != nil {
		return nil, err
	}
	h := &Handle{file: f}
	if err := h.openSocket(); err != nil {
		return nil, closeAfter(err, f)
	}
	return h, nil
}

func openNamespace(path string) (_ *os.File, err error) {
	// O_NONBLOCK: a FIFO at the path must not make us wait for a writer.
	f, err := os.OpenFile(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, errdefs.NotFound("open network namespace: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(f.Close)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return nil, fmt.Errorf("check network namespace %s: %w", path, err)
	}
	if fs.Type != unix.NSFS_MAGIC {
		return nil, errdefs.Invalid("open network namespace: %s is not a namespace", path)
	}
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil {
		return nil, fmt.Errorf("check network namespace %s: %w", path, err)
	}
	if kind != unix.CLONE_NEWNET {
		return nil, errdefs.Invalid("open network namespace: %s is a namespace of another kind", path)
	}
	cu.Release()
	return f, nil
}

func (h *Handle) openSocket() error {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	h.nl = nl
	return nil
}

// Netlink returns the socket, which stays in the namespace whatever thread uses it. It belongs to the handle.
func (h *Handle) Netlink() *netlink.Handle { return h.nl }

// File returns the open namespace, for calls that take one as a descriptor. It belongs to the handle.
func (h *Handle) File() *os.File { return h.file }

// IsOwn tells whether it is the network namespace that the calling process itself is in.
func (h *Handle) IsOwn() (bool, error) {
	own, err := Own()
	if err != nil {
		return false, err
	}
	a, errA := h.file.Stat()
	b, errB := own.Stat()
	if err := closeAfter(errors.Join(errA, errB), own); err != nil {
		return false, fmt.Errorf("compare namespaces: %w", err)
	}
	return os.SameFile(a, b), nil
}

// Inode returns the number of the namespace's inode, which no other namespace has as long as this one exists.
func (h *Handle) Inode() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(h.file.Fd()), &st); err != nil {
		return 0, fmt.Errorf("identify network namespace: %w", err)
	}
	return st.Ino, nil
}

// Cookie returns a number that no other network namespace has or will have until the machine starts anew (SO_NETNS_COOKIE, Linux 5.14),
// unlike that of an inode, which the next namespace may get.
func (h *Handle) Cookie() (cookie uint64, err error) {
	err = h.Do(func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return errors.Join(err, unix.Close(fd))
	})
	if err != nil {
		return 0, fmt.Errorf("identify network namespace: %w", err)
	}
	return cookie, nil
}

// Do runs f in a thread that is in the namespace. What has a path in /proc/sys/net or opens a socket needs that; for
// netlink use Netlink, which costs no switch. f must not start goroutines that rely on the namespace.
func (h *Handle) Do(f func() error) error {
	return inThread(func() error { return h.doInThread(f) })
}

func (h *Handle) doInThread(f func() error) (err error) {
	home, err := Own()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(h.file.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace: %w", err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// Still locked: the thread ends with this goroutine and takes the wrong namespace along.
		return errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// Close closes the socket and the namespace.
func (h *Handle) Close() error {
	if h.nl != nil {
		h.nl.Close()
	}
	return h.file.Close()
}
