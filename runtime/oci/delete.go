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
	if force && errors.Is(err, errdefs.ErrNotFound) {
		if gone, err := r.removeHalfMade(id); gone || err != nil {
			return err
		}
		if c, err = r.load(id); errors.Is(err, errdefs.ErrNotFound) {
			return nil
		}
	}
	switch {
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

// removeHalfMade removes the folder of a create that was killed before its record was written, which has had no other effect. It is
// not gone if there is a record after all: a create that lives holds the lock until then, and goes on.
func (r *Runtime) removeHalfMade(id string) (gone bool, err error) {
	c := &container{dir: r.folder(id)}
	if err := c.take(); errors.Is(err, errdefs.ErrNotFound) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	there, err := c.lock.IsAt(c.dir)
	if err != nil || !there {
		return true, errors.Join(err, c.release())
	}
	if _, err := r.load(id); !errors.Is(err, errdefs.ErrNotFound) {
		return false, c.release() // the caller loads it again
	}
	return true, c.remove()
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
