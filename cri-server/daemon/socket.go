package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// socketMode lets root and root's group in.
const socketMode = 0o660

// listen makes the CRI socket at path. It is bound under another name and renamed once its mode is right, so that nobody
// gets in before, and one that a crash left behind is replaced without a moment in which there is none. A socket at
// which somebody answers is left alone.
func listen(ctx context.Context, path string) (_ net.Listener, err error) {
	if err := checkFree(ctx, path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, fmt.Errorf("make the socket's folder: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // it would unlink the old name
	cu.Add(l.Close)
	cu.Add(func() error { return os.Remove(fresh) })
	if err := os.Chmod(fresh, socketMode); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	cu.Release()
	return &removingListener{UnixListener: l, path: path}, nil
}

// checkFree refuses a path at which a process answers, or which is no socket.
func checkFree(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errdefs.FailedPrecondition("listen on %s: it exists and is no socket; remove it or give another path (--listen)", path)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil // left behind by a crash
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	return errors.Join(
		errdefs.FailedPrecondition("listen on %s: another process answers there; stop it or give another path (--listen)", path),
		conn.Close())
}

// removingListener removes its socket when it closes, so that clients see at once that nobody is there.
type removingListener struct {
	*net.UnixListener
	path string
}

func (l *removingListener) Close() error {
	if err := l.UnixListener.Close(); errors.Is(err, net.ErrClosed) {
		return nil // by the server, which came here
	} else if err != nil {
		return fmt.Errorf("close the socket: %w", err)
	}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket: %w", err)
	}
	return nil
}
