package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Freeze stops every process in the group and in its children, and returns when all have stopped. If ctx ends before,
// the group is thawed again.
func (g *Group) Freeze(ctx context.Context) error {
	if err := g.freeze(ctx); err != nil {
		return errors.Join(fmt.Errorf("freeze cgroup %s: %w", g.Path(), err), g.Thaw())
	}
	return nil
}

// Thaw lets a frozen group run on. One that is not frozen, or does not exist, is fine.
func (g *Group) Thaw() error {
	hi, file, value := g.host.tracker, "cgroup.freeze", "0"
	if !hi.v2 {
		hi, file, value = g.host.byController["freezer"], "freezer.state", "THAWED"
	}
	if hi == nil {
		return nil
	}
	d, err := g.open(hi)
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("thaw cgroup %s: %w", g.Path(), err)
	}
	err = d.WriteFile(file, value)
	if gone(err) {
		err = nil
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("thaw cgroup %s: %w", g.Path(), err)
	}
	return nil
}

// Frozen tells whether the group was frozen, by Freeze or by somebody else, and not thawed since. It does not look at
// groups above it.
func (g *Group) Frozen() (bool, error) {
	hi, file := g.host.tracker, "cgroup.freeze"
	if !hi.v2 {
		hi, file = g.host.byController["freezer"], "freezer.self_freezing"
	}
	if hi == nil {
		return false, nil
	}
	d, err := g.open(hi)
	if gone(err) {
		return false, errdefs.New(errdefs.ErrNotFound, "ask whether cgroup %s is frozen: %w", g.Path(), err)
	}
	if err != nil {
		return false, fmt.Errorf("ask whether cgroup %s is frozen: %w", g.Path(), err)
	}
	data, err := d.ReadFile(file, maxFile)
	if err := errors.Join(err, d.Close()); err != nil {
		return false, fmt.Errorf("ask whether cgroup %s is frozen: read %s: %w", g.Path(), file, err)
	}
	return strings.TrimSpace(string(data)) == "1", nil
}

func (g *Group) freeze(ctx context.Context) error {
	hi := g.host.tracker
	if !hi.v2 {
		hi = g.host.byController["freezer"]
	}
	if hi == nil {
		return errdefs.NotSupported("this host has no freezer controller")
	}
	d, err := g.open(hi)
	if errors.Is(err, fs.ErrNotExist) {
		return errdefs.New(errdefs.ErrNotFound, "%w", err)
	}
	if err != nil {
		return err
	}
	if hi.v2 {
		if err = d.WriteFile("cgroup.freeze", "1"); err == nil {
			err = await(ctx, d, "frozen", "1")
		}
	} else {
		err = awaitFrozenV1(ctx, d)
	}
	return errors.Join(err, d.Close())
}

// awaitFrozenV1 asks until all processes have stopped. v1 sends no event for it (Documentation/admin-guide/cgroup-v1/
// freezer-subsystem.rst tells to read the file again), hence the timer.
func awaitFrozenV1(ctx context.Context, d *sys.Dir) error {
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for {
		if err := d.WriteFile("freezer.state", "FROZEN"); err != nil {
			return fmt.Errorf("set freezer.state to FROZEN: %w", err)
		}
		state, err := d.ReadFile("freezer.state", maxFile)
		if err != nil {
			return fmt.Errorf("read freezer.state: %w", err)
		}
		if strings.TrimSpace(string(state)) == "FROZEN" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until all processes are frozen: %w", ctx.Err())
		case <-pause.C:
		}
	}
}

// freezeV1 begins to freeze the group in v1's freezer, as far as there is one, and returns what thaws it. It does not
// wait: a process that is about to stop can finish one fork, and its child stops before it runs.
func (g *Group) freezeV1() (thaw func() error, err error) {
	hi := g.host.byController["freezer"]
	nothing := func() error { return nil }
	if hi == nil || hi.v2 {
		return nothing, nil
	}
	d, err := g.open(hi)
	if gone(err) {
		return nothing, nil
	}
	if err != nil {
		return nil, err
	}
	if err := d.WriteFile("freezer.state", "FROZEN"); err != nil {
		return nil, errors.Join(fmt.Errorf("set freezer.state to FROZEN: %w", err), d.Close())
	}
	return func() error {
		err := d.WriteFile("freezer.state", "THAWED")
		if errors.Is(err, syscall.ENODEV) {
			err = nil
		}
		return errors.Join(err, d.Close())
	}, nil
}
