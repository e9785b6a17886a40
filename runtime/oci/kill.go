package oci

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/cgroup"
)

// Kill sends a signal to the container's first process, or with all to every process in its control group. SIGKILL reaches
// frozen processes as well. ErrFailedPrecondition if the container does not run; with all that is fine.
func (r *Runtime) Kill(ctx context.Context, id string, sig syscall.Signal, all bool) error {
	c, err := r.load(id)
	if err != nil {
		return err
	}
	if all {
		return c.killAll(ctx, sig)
	}
	pidfd, err := c.process()
	if err != nil {
		return err
	}
	if pidfd == nil {
		return errdefs.FailedPrecondition("container not running")
	}
	err = sys.PidfdSignal(pidfd, sig)
	if errors.Is(err, syscall.ESRCH) {
		err = errdefs.FailedPrecondition("container not running")
	}
	if err == nil && sig == syscall.SIGKILL {
		err = c.thaw() // v1's freezer holds back even that
	}
	return errors.Join(err, pidfd.Close())
}

func (c *container) thaw() error {
	err := c.withGroup(func(g *cgroup.Group) error {
		frozen, err := g.Frozen()
		if err != nil || !frozen {
			return err
		}
		return g.Thaw()
	})
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	return err
}

func (c *container) killAll(ctx context.Context, sig syscall.Signal) error {
	err := c.withGroup(func(g *cgroup.Group) error {
		if sig == syscall.SIGKILL {
			return g.Kill(ctx)
		}
		pids, err := g.PIDs()
		if err != nil {
			return err
		}
		var errs []error
		for _, pid := range pids {
			errs = append(errs, signalMember(g, pid, sig))
		}
		return errors.Join(errs...)
	})
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	return err
}

// signalMember makes sure that the number still is that of a member once there is a pidfd of it.
func signalMember(g *cgroup.Group, pid int, sig syscall.Signal) error {
	pidfd, err := sys.PidfdOpen(pid)
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	member, err := g.Has(pid)
	if err == nil && member {
		if err = sys.PidfdSignal(pidfd, sig); errors.Is(err, syscall.ESRCH) {
			err = nil
		}
	}
	return errors.Join(err, pidfd.Close())
}

const killSignal = syscall.SIGKILL

// endProcess kills the first process, wherever it is by now, and waits for its end. Others die with it, if it has a PID
// namespace, or with the control group.
func (c *container) endProcess(ctx context.Context) error {
	pidfd, err := c.process()
	if err != nil || pidfd == nil {
		return err
	}
	if err = sys.PidfdSignal(pidfd, killSignal); errors.Is(err, syscall.ESRCH) {
		err = nil
	}
	if err == nil {
		err = c.thaw()
	}
	if err == nil {
		err = sys.AwaitPidfd(ctx, pidfd)
	}
	return errors.Join(err, pidfd.Close())
}
