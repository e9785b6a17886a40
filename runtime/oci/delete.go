package oci

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/cgroup"
)

// Delete removes what is left of a stopped container, and one that was created and never started. With force it kills a
// running one, takes what a killed create left, and finds nothing wrong with one that does not exist. After an error it can
// be called again.
func (r *Runtime) Delete(ctx context.Context, id string, force bool) error {
	c, err := r.load(id)
	switch {
	case err != nil && force && errors.Is(err, errdefs.ErrNotFound):
		return os.RemoveAll(r.folder(id)) // a create that was killed before its record was written has had no effect
	case err != nil && force && errors.Is(err, errdefs.ErrDataLoss):
		r.cfg.Logger.WarnContext(ctx, "the record can't be read: what it described may be left", "container", id, "error", err)
		return os.RemoveAll(r.folder(id))
	case err != nil:
		return err
	case force:
		if err := c.killAll(ctx, killSignal); err != nil { // so that whoever holds the lock and waits for it comes back
			return err
		}
	}
	if c, err = r.hold(id); err != nil {
		if force && errors.Is(err, errdefs.ErrNotFound) {
			return nil
		}
		return err
	}
	return r.destroy(ctx, c, force)
}

// destroy undoes a container whose lock is held.
func (r *Runtime) destroy(ctx context.Context, c *container, force bool) error {
	status, pidfd, err := c.status()
	if err == nil && pidfd != nil {
		err = pidfd.Close()
		if !force && status != StatusCreated {
			err = errors.Join(err, errdefs.FailedPrecondition("cannot delete container %s that is not stopped: %s", c.rec.ID, status))
		}
	}
	if err == nil {
		err = c.endProcess(ctx)
	}
	if err == nil {
		err = c.removeGroup(ctx)
	}
	spec, specErr := c.spec()
	if err == nil && specErr == nil {
		err = r.removeShare(c.rec.ID, spec)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("delete container: %w", err), c.release())
	}
	if specErr != nil {
		r.cfg.Logger.WarnContext(ctx, "no poststop hooks can be run", "container", c.rec.ID, "error", specErr)
	} else if spec.Hooks != nil {
		r.warnHooks(ctx, c, "poststop", spec.Hooks.Poststop, specs.StateStopped)
	}
	return c.remove()
}

// removeGroup kills what is left and removes the control group.
func (c *container) removeGroup(ctx context.Context) error {
	err := c.withGroup(func(g *cgroup.Group) error {
		if done, err := g.RemoveEmpty(); done || err != nil {
			return err
		}
		if err := g.Kill(ctx); err != nil {
			return err
		}
		return g.Remove(ctx)
	})
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	return err
}
