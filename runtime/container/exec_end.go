package container

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// Wait returns the exit of the process.
func (e *Exec) Wait(ctx context.Context) (client.Exit, error) {
	select {
	case <-e.exited:
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.exit, nil
	case <-ctx.Done():
		return client.Exit{}, fmt.Errorf("wait for process %s: %w", e.id, ctx.Err())
	}
}

// Kill kills the process with everything that it has started, also what has left its session.
func (e *Exec) Kill(ctx context.Context) error {
	if err := e.group.Kill(ctx); err != nil {
		return fmt.Errorf("kill process %s: %w", e.id, err)
	}
	return nil
}

// Master returns the pty master of a terminal, nil otherwise. It is the Exec's: Close closes it.
func (e *Exec) Master() *os.File { return e.master }

// Resize sets the size of the terminal, in characters. ErrFailedPrecondition if there is none.
func (e *Exec) Resize(width, height uint16) error {
	if e.master == nil {
		return errdefs.FailedPrecondition("process %s has no terminal", e.id)
	}
	return sys.SetWinsize(e.master, width, height)
}

// Close releases the files, and in the background the keeper's record and the control group. It neither kills nor waits: a
// process still running goes on and is reaped, and what it needs is released then.
func (e *Exec) Close() error {
	e.mu.Lock()
	over, again := e.over, e.abandoned
	e.abandoned = true
	e.mu.Unlock()
	if again {
		return nil
	}
	if over {
		e.releaseLater()
	}
	if e.master == nil {
		return nil
	}
	return e.master.Close()
}

// finish notes the end.
func (e *Exec) finish(exit client.Exit) {
	e.mu.Lock()
	first := !e.over
	if first {
		e.over, e.exit = true, exit
		close(e.exited)
	}
	abandoned := e.abandoned
	e.mu.Unlock()
	if first && abandoned {
		e.releaseLater()
	}
}

func (e *Exec) releaseLater() {
	r := e.runtime
	r.background(func(ctx context.Context) {
		if err := e.release(ctx); err != nil {
			r.cfg.Logger.ErrorContext(ctx, "release an exec", "process", e.id, "error", err)
		}
	})
}

// release drops what is kept of a process that has ended. Its group stays if it has left children behind, which are the
// container's own business; it goes with the container.
func (e *Exec) release(ctx context.Context) error {
	r := e.runtime
	r.mu.Lock()
	if r.execs != nil {
		delete(r.execs, e.id)
	}
	pidfd := e.pidfd
	e.pidfd = nil
	r.mu.Unlock()
	var errs []error
	if pidfd != nil {
		errs = append(errs, pidfd.Close())
	}
	pids, err := e.group.PIDs()
	if err == nil && len(pids) == 0 {
		err = e.group.Remove(ctx)
	}
	return errors.Join(append(errs, err, r.forgetExec(ctx, e.id))...)
}

func (r *Runtime) forgetExec(ctx context.Context, id string) error {
	return r.ask(ctx, func(k *client.Client) error { return k.Forget(ctx, id) })
}

// closeFiles is for an Exec that never started, or that the Runtime closes on its own end.
func (e *Exec) closeFiles() error {
	var errs []error
	for _, f := range []*os.File{e.pidfd, e.master} {
		if f == nil {
			continue
		}
		if err := f.Close(); !errors.Is(err, os.ErrClosed) { // Close may have been here
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
