package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// askStarted asks the keeper something about a container that has been started.
func (r *Runtime) askStarted(ctx context.Context, id string, request func(*client.Client) error) error {
	c, err := r.find(id)
	if err != nil {
		return err
	}
	if c.state().Status == StatusCreated {
		return errdefs.FailedPrecondition("container %s has not been started", id)
	}
	return r.ask(ctx, request)
}

// Attach connects streams to the container's stdio; any may be nil. It returns once they are connected; the keeper copies
// until the process ends or the files close. The files stay the caller's.
//
// A container that has not been started has one client: the last one attached, which gets everything from the first byte
// on, and which the container waits for while it does not read ([client.Managed]).
func (r *Runtime) Attach(ctx context.Context, id string, stdin, stdout, stderr *os.File) error {
	c, err := r.find(id)
	if err != nil {
		return err
	}
	if done, err := c.attachFirst([3]*os.File{stdin, stdout, stderr}); done || err != nil {
		return err
	}
	return r.askStarted(ctx, id, func(k *client.Client) error { return k.Attach(ctx, id, stdin, stdout, stderr) })
}

// attachFirst keeps duplicates of a client's files for the start; done says whether that is still to come.
func (c *container) attachFirst(files [3]*os.File) (done bool, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	var own [3]*os.File
	for i, f := range files {
		if f == nil {
			continue
		}
		raw, err := sys.RawDup(f)
		if err != nil {
			return false, fmt.Errorf("attach to container %s: %w", c.id, err)
		}
		own[i] = raw.File(f.Name())
		cu.Add(own[i].Close)
	}
	c.mu.Lock()
	s := c.start
	if s != nil {
		own, s.managed.Client = s.managed.Client, own
	}
	c.mu.Unlock()
	if s == nil {
		return false, nil
	}
	cu.Release()
	return true, closeAll(own[:])
}

// Resize sets the size of the container's terminal, in characters.
func (r *Runtime) Resize(ctx context.Context, id string, width, height uint16) error {
	return r.askStarted(ctx, id, func(k *client.Client) error { return k.Resize(ctx, id, width, height) })
}

// CloseStdin ends the container's standard input.
func (r *Runtime) CloseStdin(ctx context.Context, id string) error {
	return r.askStarted(ctx, id, func(k *client.Client) error { return k.CloseStdin(ctx, id) })
}

// ReopenLog makes the keeper open the log file anew after a rotation. On error no new file exists.
func (r *Runtime) ReopenLog(ctx context.Context, id string) error {
	return r.askStarted(ctx, id, func(k *client.Client) error { return k.ReopenLog(ctx, id) })
}

// OpenRoot opens the root of a running container as its first process sees it, for package rootfs. The caller closes it.
func (r *Runtime) OpenRoot(id string) (*os.File, error) {
	c, err := r.find(id)
	if err != nil {
		return nil, err
	}
	return c.openRoot()
}

func (c *container) openRoot() (*os.File, error) {
	pid, pidfd, err := c.running()
	if err != nil {
		return nil, err
	}
	root, err := sys.Openat2(nil, "/proc/"+strconv.Itoa(pid)+"/root", sys.OPath, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("open the root of container %s: %w", c.id, err)
	}
	// Only now is it known that the number was not another process's already.
	if err := sys.PidfdSignal(pidfd, 0); err != nil {
		return nil, joinClose(errdefs.FailedPrecondition("container %s is not running: %w", c.id, err), root)
	}
	return root, nil
}

func joinClose(err error, f *os.File) error { return errors.Join(err, f.Close()) }
