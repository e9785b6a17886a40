package container

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// Signal sends a signal to the container's first process, by its pidfd. ErrFailedPrecondition if it does not run.
func (r *Runtime) Signal(_ context.Context, id string, sig syscall.Signal) error {
	c, err := r.find(id)
	if err != nil {
		return err
	}
	_, pidfd, err := c.running()
	if err != nil {
		return err
	}
	err = sys.PidfdSignal(pidfd, sig)
	if errors.Is(err, syscall.ESRCH) {
		return errdefs.FailedPrecondition("signal container %s: its process has ended: %w", id, err)
	}
	if err != nil {
		return fmt.Errorf("signal container %s with %d: %w", id, sig, err)
	}
	return nil
}

// Kill kills every process of the container and returns when the end of the first one is known. One that does not run is
// fine.
func (r *Runtime) Kill(ctx context.Context, id string) error {
	c, err := r.find(id)
	if err != nil {
		return err
	}
	return r.kill(ctx, c)
}

func (r *Runtime) kill(ctx context.Context, c *container) error {
	if c.group != nil {
		if err := c.group.Kill(ctx); err != nil {
			return fmt.Errorf("kill container %s: %w", c.id, err)
		}
	}
	if c.state().Status != StatusRunning {
		return nil
	}
	select {
	case <-c.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of killed container %s: %w", c.id, ctx.Err())
	}
}

// Wait returns the exit of the container's first process, at once if it has ended.
func (r *Runtime) Wait(ctx context.Context, id string) (client.Exit, error) {
	c, err := r.find(id)
	if err != nil {
		return client.Exit{}, err
	}
	select {
	case <-c.exited:
		return c.state().Exit, nil
	case <-ctx.Done():
		return client.Exit{}, fmt.Errorf("wait for container %s: %w", id, ctx.Err())
	}
}

// State returns the state of a container; ErrNotFound for an unknown ID.
func (r *Runtime) State(_ context.Context, id string) (State, error) {
	c, err := r.find(id)
	if err != nil {
		return State{}, err
	}
	return c.state(), nil
}

// PID returns the first process, for those who look into /proc. It is valid as long as the container has not ended.
// ErrFailedPrecondition if it does not run.
func (r *Runtime) PID(id string) (int, error) {
	c, err := r.find(id)
	if err != nil {
		return 0, err
	}
	pid, pidfd, err := c.running()
	if err != nil {
		return 0, err
	}
	if err := sys.PidfdSignal(pidfd, 0); err != nil {
		return 0, errdefs.FailedPrecondition("container %s is not running: %w", id, err)
	}
	return pid, nil
}

// Update changes the limits of the container's control group; nil fields stay.
func (r *Runtime) Update(ctx context.Context, id string, res *specs.LinuxResources) error {
	group, err := r.group(id)
	if err != nil {
		return err
	}
	for _, w := range cgroup.Ignored(res) {
		r.cfg.Logger.WarnContext(ctx, "container differs from what was asked", "container", id, "difference", w)
	}
	return group.Update(ctx, res)
}

// OOMKilled tells whether the kernel has killed a process of the container for lack of memory. It works until Delete.
func (r *Runtime) OOMKilled(_ context.Context, id string) (bool, error) {
	group, err := r.group(id)
	if err != nil {
		return false, err
	}
	n, err := group.OOMKills()
	return n > 0, err
}

// Stats returns the counters of the container's control group.
func (r *Runtime) Stats(_ context.Context, id string) (cgroup.Stats, error) {
	group, err := r.group(id)
	if err != nil {
		return cgroup.Stats{}, err
	}
	return group.Stats()
}

func (r *Runtime) group(id string) (*cgroup.Group, error) {
	c, err := r.find(id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.group == nil {
		return nil, errdefs.NotFound("control group of container %s", id)
	}
	return c.group, nil
}
