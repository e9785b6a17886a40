package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
)

// killV1 signals until a v1 hierarchy lists nobody. Each turn waits for the ends of some of those it signalled.
func (g *Group) killV1(ctx context.Context, hi *hierarchy) error {
	for {
		pids, err := g.pidsIn(hi)
		if err != nil || len(pids) == 0 {
			return err
		}
		if err := g.killOnce(ctx, hi); err != nil {
			return err
		}
	}
}

func (g *Group) killOnce(ctx context.Context, hi *hierarchy) error {
	thaw, err := g.freezeV1()
	if err != nil {
		return err
	}
	last, err := g.signalAll(hi)
	err = errors.Join(err, thaw())
	switch {
	case err != nil:
	case len(last) == 0: // all are about to leave the list by themselves
		err = settle(ctx)
	default:
		err = awaitExit(ctx, last)
	}
	return errors.Join(err, closeAll(last))
}

// killBatch bounds the pidfds that are open at once.
const killBatch = 256

// signalAll sends SIGKILL to all processes of a frozen group, those included that a fork under way still adds. It
// returns the last ones' pidfds, for the caller to wait on and to close.
func (g *Group) signalAll(hi *hierarchy) (last []*os.File, err error) {
	done := map[int]bool{}
	for {
		pids, err := g.pidsIn(hi)
		if err != nil {
			return last, err
		}
		pids = slices.DeleteFunc(pids, func(pid int) bool { return done[pid] })
		if len(pids) == 0 {
			return last, nil
		}
		for batch := range slices.Chunk(pids, killBatch) {
			if err := closeAll(last); err != nil {
				return nil, err
			}
			if last, err = g.signalBatch(hi, batch); err != nil {
				return last, err
			}
		}
		for _, pid := range pids {
			done[pid] = true
		}
	}
}

// signalBatch kills through pidfds, because a number may have gone to another process since it was listed: whoever is
// still listed after the pidfd was opened is the one that the pidfd holds, or the signal finds nobody.
func (g *Group) signalBatch(hi *hierarchy, pids []int) (opened []*os.File, err error) {
	var who []int
	for _, pid := range pids {
		p, err := sys.PidfdOpen(pid)
		if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL) { // ended, or is no process any more
			continue
		}
		if err != nil {
			return opened, fmt.Errorf("open process %d: %w", pid, err)
		}
		opened, who = append(opened, p), append(who, pid)
	}
	members, err := g.pidsIn(hi)
	if err != nil {
		return opened, err
	}
	var killed []*os.File
	for i, p := range opened {
		if _, in := slices.BinarySearch(members, who[i]); !in {
			err = errors.Join(err, p.Close())
			continue
		}
		killed = append(killed, p)
		if e := sys.PidfdSignal(p, syscall.SIGKILL); e != nil && !errors.Is(e, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("kill process %d: %w", who[i], e))
		}
	}
	return killed, err
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
