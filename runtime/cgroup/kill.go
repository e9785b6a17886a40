package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/berth-runtime/berth/internal/sys"
)

// Kill ends every process in the group and in its children by SIGKILL and returns when none is left. A group that does
// not exist is fine. It must not be called for a group that holds the caller.
//
// On cgroup2 the kernel does it at once (cgroup.kill, Linux 5.14) and cgroup.events says when it is over. What a v1
// hierarchy still shows afterwards, and everything in mode V1, is frozen, signalled and thawed: frozen processes can't
// fork away from the list that was just read.
func (g *Group) Kill(ctx context.Context) error {
	if err := g.kill(ctx); err != nil {
		return fmt.Errorf("kill cgroup %s: %w", g.Path(), err)
	}
	return nil
}

func (g *Group) kill(ctx context.Context) error {
	if err := g.Vacate(); err != nil {
		return err
	}
	if g.host.tracker.v2 {
		if err := g.killV2(ctx); err != nil || g.host.mode == V2 || g.sub != "" {
			return err
		}
	}
	for _, hi := range g.own() {
		if hi.v2 {
			continue
		}
		if err := g.killV1(ctx, hi); err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) killV2(ctx context.Context) error {
	d, err := g.open(g.host.tracker)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	err = d.WriteFile("cgroup.kill", "1")
	if errors.Is(err, fs.ErrNotExist) { // before Linux 5.14, or the group is gone
		err = g.killFrozenV2(ctx, d)
	}
	if gone(err) {
		err = nil
	}
	if err == nil {
		err = await(ctx, d, "populated", "0")
	}
	return errors.Join(err, d.Close())
}

// killFrozenV2 does by hand what cgroup.kill does. Frozen processes of cgroup2 take SIGKILL as they are.
func (g *Group) killFrozenV2(ctx context.Context, d *sys.Dir) error {
	if err := d.WriteFile("cgroup.freeze", "1"); err != nil {
		return err
	}
	if err := await(ctx, d, "frozen", "1"); err != nil {
		return err
	}
	last, err := g.signalAll(g.host.tracker)
	return errors.Join(err, closeAll(last), d.WriteFile("cgroup.freeze", "0"))
}
