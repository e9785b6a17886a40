package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// Start lets the process of a created container execute what it is for, and returns when its execve has succeeded. A step
// that failed is a *fork.StepError in the chain: the container is stopped then.
func (r *Runtime) Start(ctx context.Context, id string) (err error) {
	c, err := r.hold(id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.release()) }()
	status, pidfd, err := c.status()
	if err != nil {
		return err
	}
	if pidfd == nil {
		return errdefs.FailedPrecondition("cannot start a container that has stopped")
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(pidfd.Close)
	if status != StatusCreated {
		return errdefs.FailedPrecondition("cannot start an already running container")
	}
	spec, err := c.spec()
	if err != nil {
		return err
	}
	hookCtx, stop := forHooks(ctx, spec.Hooks)
	defer stop()
	if err := r.startHooks(hookCtx, c, spec, pidfd); err != nil {
		return err
	}
	if err := c.goOn(); err != nil {
		err = fmt.Errorf("start container: %w", err)
		if step := (*fork.StepError)(nil); errors.As(err, &step) { // it has told that it ends; "created" would be wrong meanwhile
			err = errors.Join(err, sys.AwaitPidfd(ctx, pidfd))
		}
		return err
	}
	if spec.Hooks != nil {
		r.warnHooks(ctx, c, "poststart", spec.Hooks.Poststart, specs.StateRunning)
	}
	return nil
}

// goOn sends the byte that the process waits for and reads what it tells.
func (c *container) goOn() (err error) {
	tell, err := os.OpenFile(c.file(tellFile), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tell.Close()) }()
	start, err := os.OpenFile(c.file(startFile), os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) || errors.Is(err, fs.ErrNotExist) {
		return errdefs.FailedPrecondition("its process has ended: %w", err)
	}
	if err != nil {
		return err
	}
	_, writeErr := start.Write([]byte{1})
	if err := errors.Join(writeErr, start.Close()); err != nil {
		return err
	}
	return fork.AwaitReleased(tell)
}

// startHooks runs startContainer hooks: programs of the container's, which get no more rights than its process. One that
// fails stops the container.
func (r *Runtime) startHooks(ctx context.Context, c *container, spec *specs.Spec, pidfd *os.File) error {
	if spec.Hooks == nil {
		return nil
	}
	for i, h := range spec.Hooks.StartContainer {
		err := r.startHook(ctx, c, h, spec, pidfd)
		if err == nil {
			continue
		}
		err = fmt.Errorf("run hooks.startContainer[%d] %s: %w", i, h.Path, err)
		if killErr := sys.PidfdSignal(pidfd, syscall.SIGKILL); !errors.Is(killErr, syscall.ESRCH) {
			err = errors.Join(err, killErr)
		}
		err = errors.Join(err, sys.AwaitPidfd(context.WithoutCancel(ctx), pidfd))
		r.warnHooks(ctx, c, "poststop", spec.Hooks.Poststop, specs.StateStopped)
		return err
	}
	return nil
}

func (r *Runtime) startHook(ctx context.Context, c *container, h specs.Hook, spec *specs.Spec, pidfd *os.File) error {
	ctx, cancel := hookContext(ctx, h)
	defer cancel()
	process := *spec.Process
	process.Args, process.Env, process.Terminal = hookArgs(h), h.Env, false
	share, err := r.share(c.rec.ID, spec)
	if err != nil {
		return err
	}
	j, err := c.join(ctx, spec, &process, joinOptions{pidfd: pidfd, file: h.Path, share: share})
	if err != nil {
		return err
	}
	return errors.Join(runForked(ctx, h, j.program, c.hookState(specs.StateCreated), j.options), j.close())
}
