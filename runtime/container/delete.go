package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// Delete kills what is left of the container and removes its control group, its folder and the keeper's record of it.
// It is idempotent, and works for IDs that the Runtime does not know. After an error it can be called again.
func (r *Runtime) Delete(ctx context.Context, id string, o DeleteOptions) error {
	if err := checkID(id); err != nil {
		return err
	}
	c, err := r.adoptForDelete(ctx, id, o)
	if err != nil {
		return fmt.Errorf("delete container %s: %w", id, err)
	}
	giveBack, err := c.take(ctx)
	if err != nil {
		return fmt.Errorf("delete container %s: %w", id, err)
	}
	defer giveBack()
	if err := r.clear(ctx, c); err != nil {
		return fmt.Errorf("delete container %s: %w", id, err)
	}
	r.drop(c)
	return nil
}

// adoptForDelete returns the container, or a stand-in for one that only the keeper or the kernel may know.
func (r *Runtime) adoptForDelete(ctx context.Context, id string, o DeleteOptions) (*container, error) {
	if c, err := r.find(id); err == nil {
		return c, nil
	}
	c := newContainer(id, nil, StatusUnknown)
	c.silent = true
	if err := r.openGroup(c, o.CgroupPath); err != nil {
		return nil, err
	}
	if err := r.reserve(c); errors.Is(err, errdefs.ErrExists) {
		return r.adoptForDelete(ctx, id, o)
	} else if err != nil {
		return nil, err
	}
	if err := r.restore(ctx, map[string]*container{id: c}); err != nil {
		r.drop(c)
		return nil, err
	}
	return c, nil
}

// clear does each step whatever became of the others, but for those that need an earlier one.
func (r *Runtime) clear(ctx context.Context, c *container) error {
	c.mu.Lock()
	c.silent = true
	start := c.start
	c.start = nil
	c.mu.Unlock()
	if start != nil {
		if err := start.Close(); err != nil {
			return err
		}
	}
	if err := r.end(ctx, c); err != nil {
		return err
	}
	c.finish(client.Exit{Code: unknownCode, At: time.Now(), Reason: "it was deleted before it was started"})
	if err := r.ask(ctx, func(k *client.Client) error { return k.Forget(ctx, c.id) }); err != nil {
		return err
	}
	if c.group != nil {
		if err := c.group.Remove(ctx); err != nil {
			return err
		}
	}
	if err := c.share.Remove(); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(r.cfg.State, c.id)); err != nil {
		return err
	}
	return c.closeFiles()
}

// end kills all of the container, also what a start left whose answer was lost.
func (r *Runtime) end(ctx context.Context, c *container) error {
	if _, pidfd, err := c.running(); err == nil && c.group == nil {
		if err := sys.PidfdSignal(pidfd, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return r.kill(ctx, c)
}
