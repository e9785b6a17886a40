package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/sys"
)

// Remove deletes the group and its children from every hierarchy. It is idempotent. While processes are in it, it waits
// for their end until ctx is done; call [Group.Kill] first.
func (g *Group) Remove(ctx context.Context) error {
	errs := []error{g.Vacate()}
	if u, ok := g.unit(); ok {
		errs = append(errs, g.host.units.StopUnit(ctx, u.Name))
	}
	for _, hi := range g.own() {
		if err := g.removeFrom(ctx, hi); err != nil {
			errs = append(errs, fmt.Errorf("remove cgroup %s from %s: %w", g.Path(), hi.mount, err))
		}
	}
	return errors.Join(errs...)
}

// RemoveEmpty deletes the group if it has neither processes nor children, which the kernel decides: it takes one call a
// hierarchy. It tells whether the group is gone; else some of its hierarchies may still have it, and [Group.Kill] and
// [Group.Remove] deal with the rest.
func (g *Group) RemoveEmpty() (bool, error) {
	if _, ok := g.unit(); ok || g.placeholder != nil {
		return false, nil
	}
	for _, hi := range g.own() {
		err := hi.root.RmdirBeneath(g.below(hi))
		switch {
		case err == nil || gone(err):
		case errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOTEMPTY):
			return false, nil
		default:
			return false, fmt.Errorf("remove cgroup %s from %s: %w", g.Path(), hi.mount, err)
		}
	}
	return true, nil
}

func (g *Group) removeFrom(ctx context.Context, hi *hierarchy) error {
	path := g.below(hi)
	for {
		err := hi.root.RmdirBeneath(path)
		if !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.ENOTEMPTY) {
			if gone(err) {
				return nil
			}
			return err
		}
		if err := g.clear(ctx, hi); err != nil {
			return err
		}
	}
}

// clear takes away what keeps the group from being removed: its children, or else by waiting, its processes.
func (g *Group) clear(ctx context.Context, hi *hierarchy) error {
	d, err := g.open(hi)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	removed, err := removeChildren(d, maxDepth)
	switch {
	case err != nil || removed:
	case hi.v2:
		err = errors.Join(await(ctx, d, "populated", "0"), settle(ctx))
	default:
		err = errors.Join(g.awaitEmptyV1(ctx, hi), settle(ctx))
	}
	return errors.Join(err, d.Close())
}

// awaitEmptyV1 waits for the ends of those that a v1 hierarchy lists.
func (g *Group) awaitEmptyV1(ctx context.Context, hi *hierarchy) error {
	pids, err := g.pidsIn(hi)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return nil
	}
	p, err := sys.PidfdOpen(pids[0])
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", pids[0], err)
	}
	now, err := g.pidsIn(hi) // its number may have gone to another process before it was opened
	if err == nil && slices.Contains(now, pids[0]) {
		err = awaitExit(ctx, []*os.File{p})
	}
	return errors.Join(err, p.Close())
}

// settle lets a moment pass between two tries. v1 tells nobody when the last ended process lets go of its group, which
// is shortly after it has left the list and its pidfd has signalled; cgroup2 has no event for what else may hold one.
func settle(ctx context.Context) error {
	moment := time.NewTimer(200 * time.Microsecond)
	defer moment.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait until the group is empty: %w", ctx.Err())
	case <-moment.C:
		return nil
	}
}

// removeChildren removes the empty groups below dir, and tells whether it removed any.
func removeChildren(dir *sys.Dir, depth int) (removed bool, err error) {
	names, err := childGroups(dir)
	if err != nil {
		return false, err
	}
	if len(names) > 0 && depth == 0 {
		return false, fmt.Errorf("groups are nested more than %d deep", maxDepth)
	}
	for _, name := range names {
		child, err := dir.OpenDir(name)
		if gone(err) {
			continue
		}
		if err != nil {
			return removed, fmt.Errorf("open child group %.100q: %w", name, err)
		}
		deeper, err := removeChildren(child, depth-1)
		if err := errors.Join(err, child.Close()); err != nil {
			return removed, err
		}
		err = dir.Rmdir(name)
		removed = removed || deeper || err == nil
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EBUSY) {
			return removed, fmt.Errorf("remove child group %.100q: %w", name, err)
		}
	}
	return removed, nil
}
