package oci

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/resctrl"
)

// Pause freezes every process of a running or created container.
func (r *Runtime) Pause(ctx context.Context, id string) error {
	return r.change(id, func(c *container, s Status, g *cgroup.Group) error {
		if s != StatusRunning && s != StatusCreated {
			return errdefs.FailedPrecondition("container not running or created: %s", s)
		}
		return g.Freeze(ctx)
	})
}

// Resume lets a paused container run on.
func (r *Runtime) Resume(_ context.Context, id string) error {
	return r.change(id, func(_ *container, s Status, g *cgroup.Group) error {
		if s != StatusPaused {
			return errdefs.FailedPrecondition("container not paused")
		}
		return g.Thaw()
	})
}

// warn tells what of a configuration has no effect.
func (r *Runtime) warn(ctx context.Context, id string, differences []string) {
	for _, w := range differences {
		r.cfg.Logger.WarnContext(ctx, "container differs from what was asked", "container", id, "difference", w)
	}
}

// PIDs lists the processes of the container.
func (r *Runtime) PIDs(id string) (pids []int, err error) {
	c, err := r.load(id)
	if err != nil {
		return nil, err
	}
	err = c.withGroup(func(g *cgroup.Group) error {
		pids, err = g.PIDs()
		return err
	})
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil, nil
	}
	return pids, err
}

// Stats are the counters of a container.
type Stats struct {
	Group cgroup.Details
	Share *resctrl.Stats // nil without linux.intelRdt
}

// Stats returns the counters of a container.
func (r *Runtime) Stats(id string) (stats Stats, err error) {
	c, err := r.load(id)
	if err != nil {
		return stats, err
	}
	err = c.withGroup(func(g *cgroup.Group) error {
		stats.Group, err = g.Details()
		return err
	})
	if err != nil {
		return stats, err
	}
	spec, err := c.spec()
	if err != nil {
		return stats, err
	}
	share, err := r.share(id, spec)
	if err != nil {
		return stats, err
	}
	if stats.Share, err = share.Stats(); err != nil {
		return stats, fmt.Errorf("linux.intelRdt: %w", err)
	}
	return stats, nil
}

// WatchOOM calls notify each time that the container has run out of memory, until its control group is gone
// ([cgroup.Group.WatchOOM]).
func (r *Runtime) WatchOOM(ctx context.Context, id string, notify func()) error {
	c, err := r.load(id)
	if err != nil {
		return err
	}
	return c.withGroup(func(g *cgroup.Group) error { return g.WatchOOM(ctx, func(uint64) { notify() }) })
}

// change calls f with a container, its status and its group, while its lock is held.
func (r *Runtime) change(id string, f func(*container, Status, *cgroup.Group) error) (err error) {
	c, err := r.hold(id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.release()) }()
	s, pidfd, err := c.status()
	if err != nil {
		return err
	}
	if pidfd == nil {
		s = StatusStopped
	} else {
		err = pidfd.Close()
	}
	return errors.Join(err, c.withGroup(func(g *cgroup.Group) error { return f(c, s, g) }))
}
