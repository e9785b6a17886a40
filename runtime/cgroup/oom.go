package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// WatchOOM calls notify each time that the group has met its memory limit with nothing left to reclaim, with the number of
// processes that the kernel has killed for it so far (see [Group.OOMKills]); on v1 the first call comes before the kill that
// it is about. It returns nil when the group is gone, on cgroup2 already when it is empty, else when ctx ends.
//
// cgroup2 signals changes of memory.events (Linux 4.13), v1 an eventfd that is tied to memory.oom_control
// (Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control").
func (g *Group) WatchOOM(ctx context.Context, notify func(kills uint64)) error {
	hi := g.host.byController["memory"]
	if hi == nil {
		return errdefs.NotSupported("watch cgroup %s for lack of memory: this host has no memory controller", g.Path())
	}
	err := g.watchOOM(ctx, hi, notify)
	if err == nil || gone(err) {
		return nil
	}
	return fmt.Errorf("watch cgroup %s for lack of memory: %w", g.Path(), err)
}

func (g *Group) watchOOM(ctx context.Context, hi *hierarchy, notify func(uint64)) error {
	d, err := g.open(hi)
	if err != nil {
		return err
	}
	o := &oomWatch{group: g, hi: hi, dir: d}
	if o.waiter, err = sys.NewWaiter(); err != nil {
		return errors.Join(err, d.Close())
	}
	if err = o.arm(); err == nil {
		err = o.run(ctx, notify)
	}
	return errors.Join(err, o.waiter.Close(), closeAll(o.files), d.Close())
}

// oomWatch holds what one WatchOOM has open.
type oomWatch struct {
	group  *Group
	hi     *hierarchy
	dir    *sys.Dir
	waiter *sys.Waiter
	files  []*os.File
}

// keep has f closed at the end.
func (o *oomWatch) keep(f *os.File, err error) (*os.File, error) {
	if err == nil {
		o.files = append(o.files, f)
	}
	return f, err
}

// arm asks for signals of the limit and, on cgroup2, of the end.
func (o *oomWatch) arm() error {
	if !o.hi.v2 {
		return o.armV1()
	}
	for _, name := range []string{"memory.events", "cgroup.events"} {
		f, err := o.keep(o.dir.Open(name, os.O_RDONLY, 0))
		if err != nil {
			return fmt.Errorf("open %s: %w", name, err)
		}
		if err := o.waiter.AddPriority(f); err != nil {
			return fmt.Errorf("watch %s: %w", name, err)
		}
	}
	return nil
}

// armV1 ties an eventfd to the group; the kernel signals it for the group's removal, too.
func (o *oomWatch) armV1() error {
	control, err := o.keep(o.dir.Open("memory.oom_control", os.O_RDONLY, 0))
	if err != nil {
		return fmt.Errorf("open memory.oom_control: %w", err)
	}
	event, err := o.keep(sys.Eventfd())
	if err != nil {
		return err
	}
	if err := sys.CgroupEvent(o.dir, event, control); err != nil {
		return fmt.Errorf("ask for events of memory.oom_control: %w", err)
	}
	return o.waiter.AddReadable(event)
}

func (o *oomWatch) run(ctx context.Context, notify func(uint64)) error {
	met, err := o.met()
	if err != nil {
		return err
	}
	for {
		over, err := o.over()
		if over || err != nil {
			return err
		}
		if err := o.waiter.Wait(ctx); err != nil {
			return err
		}
		now, err := o.met()
		if err != nil {
			return err
		}
		if now == met && o.hi.v2 {
			continue
		}
		met = now
		kills, err := oomKills(o.dir, o.hi.v2) // fails where the signal was for the removal
		if err != nil {
			return err
		}
		notify(kills)
	}
}

// met arms the next signal. On cgroup2 it returns how often the limit was met; v1's signal means nothing else.
func (o *oomWatch) met() (uint64, error) {
	if !o.hi.v2 {
		return 0, sys.DrainEventfd(o.files[1])
	}
	buf := make([]byte, 512)
	n, err := o.files[0].ReadAt(buf, 0)
	if n == 0 && err != nil {
		return 0, fmt.Errorf("read memory.events: %w", err)
	}
	events := parseFlat(buf[:n])
	return events["oom"] + events["oom_kill"], nil
}

// over tells whether nobody is left to run out of memory.
func (o *oomWatch) over() (bool, error) {
	if o.hi.v2 {
		return eventIs(o.files[1], "populated", "0")
	}
	if _, err := o.dir.Lstat("tasks"); err != nil { // the folder is open, but removed
		return true, optional(err)
	}
	return false, nil
}
