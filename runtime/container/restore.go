package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/plan"
)

// Restore takes over containers after a restart of the caller. Those that the keeper knows become this Runtime's own;
// the rest are StatusUnknown: they had not been started, and can be created again under the same ID. The ends of those
// that have stopped meanwhile are in the result only, not in Exits.
func (r *Runtime) Restore(ctx context.Context, list []Restored) (map[string]State, error) {
	made := make(map[string]*container, len(list))
	drop := func() {
		for _, c := range made {
			r.drop(c)
		}
	}
	for _, old := range list {
		c, err := r.standIn(old)
		if err == nil {
			// It is in the map before the keeper is asked, so that no end is missed in between.
			err = r.reserve(c)
		}
		if err != nil {
			drop()
			return nil, fmt.Errorf("restore container %s: %w", old.ID, err)
		}
		made[old.ID] = c
	}
	if err := r.restore(ctx, made); err != nil {
		drop()
		return nil, fmt.Errorf("restore containers: %w", err)
	}
	states := make(map[string]State, len(made))
	for id, c := range made {
		c.mu.Lock()
		c.silent = false
		c.mu.Unlock()
		states[id] = c.state()
		if states[id].Status == StatusUnknown {
			r.drop(c)
		}
	}
	return states, nil
}

func (r *Runtime) standIn(old Restored) (*container, error) {
	if err := checkID(old.ID); err != nil {
		return nil, err
	}
	c := newContainer(old.ID, nil, StatusUnknown)
	c.silent = true
	c.inherited = plan.Inherit(old.Spec)
	var err error
	if c.share, err = r.findShare(old); err != nil {
		return nil, err
	}
	if old.Spec != nil && old.Spec.Linux != nil {
		c.seccomp, c.annotations = old.Spec.Linux.Seccomp, old.Spec.Annotations
	}
	return c, r.openGroup(c, old.CgroupPath)
}

// openGroup gives a stand-in its control group, if that exists.
func (r *Runtime) openGroup(c *container, path string) error {
	if path == "" {
		return nil
	}
	group, err := r.cfg.Cgroups.Open(path)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	c.group = group
	return err
}

// restore fills in what the keeper knows of containers that are in the map. It also makes the keeper forget execs that
// have ended and that no Runtime waits for.
func (r *Runtime) restore(ctx context.Context, made map[string]*container) error {
	conn, err := r.client(ctx)
	if err != nil {
		return err
	}
	list, err := conn.List(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		switch c := made[p.ID]; {
		case c != nil:
			if err := r.resume(ctx, conn, c, p); err != nil {
				return err
			}
		case p.Exited && strings.Contains(p.ID, execMark) && !r.waitsFor(p.ID):
			if err := conn.Forget(ctx, p.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Runtime) waitsFor(exec string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.execs[exec] != nil
}

// resume continues with a container that a keeper has.
func (r *Runtime) resume(ctx context.Context, conn *client.Client, c *container, p client.Process) error {
	c.mu.Lock()
	c.pid, c.startedAt = p.PID, p.At
	if c.status == StatusUnknown && !p.Exited {
		c.status = StatusRunning
	}
	c.mu.Unlock()
	if p.Exited {
		c.finish(p.Exit)
		return nil
	}
	pidfd, err := openProcess(p)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil // the event of its end is on the way
	}
	if err != nil {
		return err
	}
	master, err := conn.Master(ctx, c.id)
	c.mu.Lock()
	c.pidfd, c.master = pidfd, master
	c.mu.Unlock()
	if err != nil || master != nil {
		return err
	}
	return r.holds.Add(c.id, filepath.Join(r.cfg.State, c.id))
}

// openProcess opens exactly the process that the keeper means.
func openProcess(p client.Process) (*os.File, error) {
	pidfd, err := sys.PidfdOpen(p.PID)
	if err != nil {
		return nil, errdefs.NotFound("process %d: %w", p.PID, err)
	}
	stat, err := sys.ReadProcStat(p.PID)
	switch {
	case err != nil:
		return nil, joinClose(errdefs.NotFound("process %d: %w", p.PID, err), pidfd)
	case stat.StartTime != p.StartTime:
		return nil, joinClose(errdefs.NotFound("process %d is another one now", p.PID), pidfd)
	}
	return pidfd, nil
}
