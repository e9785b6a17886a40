package container

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// cleanupTime bounds what is done after a failure, when the caller's context may be over.
const cleanupTime = 30 * time.Second

// Start forks the container's first process and returns when its execve has succeeded. The result's pidfd stays the
// Runtime's. On error nothing of the container runs, and it can't be started again: only Delete is left. A step that failed
// in the child is a *fork.StepError in the chain.
func (r *Runtime) Start(ctx context.Context, id string) (client.Started, error) {
	c, err := r.find(id)
	if err != nil {
		return client.Started{}, err
	}
	giveBack, err := c.take(ctx)
	if err != nil {
		return client.Started{}, fmt.Errorf("start container %s: %w", id, err)
	}
	defer giveBack()
	c.mu.Lock()
	files := c.start
	if c.status != StatusCreated || files == nil {
		defer c.mu.Unlock()
		return client.Started{}, errdefs.FailedPrecondition("start container %s: it is %s", id, c.status)
	}
	c.start = nil
	c.mu.Unlock()
	started, err := r.launch(ctx, c, files)
	if err != nil {
		return client.Started{}, errors.Join(err, files.Close(), r.abandon(ctx, c, err)) // the caller knows what it starts
	}
	c.mu.Lock()
	c.pidfd, c.pid, c.startedAt = started.Pidfd, started.PID, started.At
	c.master, files.prepared.Terminal.Master = files.prepared.Terminal.Master, nil
	if c.status == StatusCreated { // its end may have come first
		c.status = StatusRunning
	}
	c.mu.Unlock()
	if err := c.group.Vacate(); err != nil {
		r.cfg.Logger.ErrorContext(ctx, "placeholder of a started container", "container", id, "error", err)
	}
	if err := files.Close(); err != nil {
		r.cfg.Logger.ErrorContext(ctx, "close files of a start", "container", id, "error", err)
	}
	return started, nil
}

func (r *Runtime) launch(ctx context.Context, c *container, files *startFiles) (client.Started, error) {
	if err := files.write(); err != nil {
		return client.Started{}, err
	}
	return r.startProcess(ctx, c, client.StartRequest{
		ID: c.id, Program: files.program, Flags: files.flags, PIDNS: files.pidns, Cgroup: files.cgroup,
		Stdio: client.Stdio{Managed: &files.managed},
	}, specs.StateCreating)
}

// abandon ends a start that failed. If a step of the program did there is no process; if the keeper's answer was lost, or
// what was to be done with it went wrong, there may be one.
func (r *Runtime) abandon(ctx context.Context, c *container, cause error) error {
	c.mu.Lock()
	c.silent = true
	c.mu.Unlock()
	var err error
	if step := (*fork.StepError)(nil); !errors.As(cause, &step) {
		err = r.killStray(ctx, c)
	}
	exit := client.Exit{Code: unknownCode, At: time.Now(), Reason: "it could not be started: " + cause.Error()}
	c.finish(exit)
	c.mu.Lock()
	c.exit = exit // not that of the process which was killed
	c.mu.Unlock()
	return err
}

// killStray kills the process that there may be, and waits until the keeper has seen its end: it forgets nothing that runs.
func (r *Runtime) killStray(ctx context.Context, c *container) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	if err := c.group.Kill(ctx); err != nil {
		return err
	}
	runs := func(p client.Process) bool { return p.ID == c.id && !p.Exited }
	var waits bool
	err := r.ask(ctx, func(k *client.Client) error {
		list, err := k.List(ctx)
		waits = slices.ContainsFunc(list, runs)
		return err
	})
	if err != nil || !waits {
		return err
	}
	select {
	case <-c.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of a process that was not to be started: %w", ctx.Err())
	}
}

const unknownCode = 255
