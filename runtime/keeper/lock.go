package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// lockWait is how long a dying keeper may hold the lock.
const lockWait = 10 * time.Second

// acquire takes the lock of the state folder. The kernel releases it when the last thread of a killed keeper is gone: when it
// is ours, no write of the former one is still under way.
func acquire(ctx context.Context, cfg Config) (*os.File, error) {
	path := cfg.StateDir + "/lock"
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	fd := int(f.Fd())
	err = flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	if c, err := sys.DialSeqpacket(cfg.Socket); err == nil {
		return nil, errors.Join(inUse(cfg), c.Close(), f.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	locked := make(chan error, 1)
	go func() { locked <- flock(fd, syscall.LOCK_EX) }()
	select {
	case err = <-locked:
		if err == nil {
			return f, nil
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	case <-ctx.Done():
		// The waiting goroutine keeps f; the caller gives up and the process ends.
		return nil, inUse(cfg)
	}
}

func inUse(cfg Config) error {
	return errdefs.FailedPrecondition("another keeper uses the state folder %s: stop it, or give this one a folder of its own", cfg.StateDir)
}

func flock(fd, how int) error {
	for {
		if err := syscall.Flock(fd, how); err != syscall.EINTR {
			return err
		}
	}
}
