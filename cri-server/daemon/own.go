package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/berth-runtime/berth/cri-server/config"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/cgroup"
)

// own takes what this daemon has outside of its folders, and returns the keeper's control group. What lies in the pods' group,
// or on the built-in network, and in no record, is removed as nobody's: with two owners that would be the other's pods.
func own(ctx context.Context, cfg config.Config, cgroups *cgroup.Host, stop *cleanup.Stack) (*cgroup.Group, error) {
	network, err := ownNetwork(cfg.CNI.Default)
	if err != nil {
		return nil, err
	}
	stop.Add(network.Close)
	parent, keeper, err := groups(ctx, cfg.Cgroup, cgroups)
	if err != nil {
		return nil, err
	}
	held, err := ownGroup(parent)
	if err != nil {
		return nil, err
	}
	stop.Add(held.Close)
	return keeper, nil
}

// lockFolder is root's alone: in a folder that others may write to, or a namespace of names like that of abstract sockets, a
// hostNetwork pod could keep berthd from starting.
const lockFolder = "/run/lock/berth"

// ownNetwork takes the name of the built-in network for this process, in its network namespace: two daemons on one bridge would
// give the same address twice, and each would remove the other's links as nobody's.
func ownNetwork(name string) (io.Closer, error) {
	var ns syscall.Stat_t
	if err := syscall.Stat("/proc/self/ns/net", &ns); err != nil {
		return nil, fmt.Errorf("take the network name %q: find the network namespace: %w", name, err)
	}
	if err := os.MkdirAll(lockFolder, 0o700); err != nil {
		return nil, fmt.Errorf("take the network name %q: %w", name, err)
	}
	held, err := takeName(filepath.Join(lockFolder, fmt.Sprintf("network-%s-%d", name, ns.Ino)))
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errdefs.FailedPrecondition("another berthd uses the network name %q; give this one its own (cni.default_network)", name)
	}
	if err != nil {
		return nil, fmt.Errorf("take the network name %q: %w", name, err)
	}
	return held, nil
}

// nameLock is a locked file, which is removed when it is closed.
type nameLock struct{ *os.File }

// takeName locks a file that may be removed by its last owner at the same time: what is locked counts only while it still has
// the name.
func takeName(path string) (io.Closer, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(mine, there) {
			return nameLock{f}, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// Close gives the name back.
func (l nameLock) Close() error { return errors.Join(os.Remove(l.Name()), l.File.Close()) }

// ownGroup takes the control group that pods go to for this process: what is in it and in no record is removed.
func ownGroup(group *cgroup.Group) (io.Closer, error) {
	held, err := group.Lock()
	if errors.Is(err, errdefs.ErrFailedPrecondition) {
		return nil, errdefs.FailedPrecondition("another berthd uses the control group %s; give this one its own (cgroup.parent)", group.Path())
	}
	return held, err
}

// checkRoot says what is wrong before the first effect. Without these rights every later step would fail in words of its own.
func checkRoot() error {
	if os.Geteuid() != 0 {
		return errdefs.New(errdefs.ErrPermission, "berthd needs root; it runs as user %d", os.Geteuid())
	}
	return nil
}
