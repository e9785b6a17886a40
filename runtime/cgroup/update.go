package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Update changes limits of a running group; what r leaves out stays. If one is refused, those that were changed before
// are set back and the error says which it was. Device rules, if there are any, replace those that hold.
//
// A memory limit below the present use is reached by reclaim or refused (errdefs.ErrFailedPrecondition); the update itself
// never has anything killed. With r.Memory.CheckBeforeUpdate it is refused at once.
func (g *Group) Update(ctx context.Context, r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	o := &openGroup{group: g, dirs: map[*hierarchy]*sys.Dir{}}
	err := o.update(ctx, r)
	if err := errors.Join(err, o.close()); err != nil {
		return fmt.Errorf("update cgroup %s: %w", g.Path(), err)
	}
	return nil
}

// openGroup holds the folders of one group that an update needs.
type openGroup struct {
	group *Group
	dirs  map[*hierarchy]*sys.Dir
}

func (o *openGroup) close() error {
	var errs []error
	for _, d := range o.dirs {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// in returns the folder that holds a controller's files.
func (o *openGroup) in(controller string) (*sys.Dir, error) {
	return o.at(o.group.host.byController[controller])
}

func (o *openGroup) at(hi *hierarchy) (*sys.Dir, error) {
	if d := o.dirs[hi]; d != nil {
		return d, nil
	}
	d, err := o.group.open(hi)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.New(errdefs.ErrNotFound, "%w", err)
	}
	if err == nil {
		o.dirs[hi] = d
	}
	return d, err
}

func (o *openGroup) update(ctx context.Context, r *specs.LinuxResources) error {
	h := o.group.host
	now, err := o.present(r)
	if err != nil {
		return err
	}
	writes, err := plan(planner{v2: h.isV2, now: now}, r)
	if err != nil {
		return err
	}
	guard, err := h.planGuard(r.Devices)
	if err != nil {
		return err
	}
	if err := o.checkUse(r.Memory); err != nil {
		return err
	}
	undo, err := o.run(ctx, writes)
	if err == nil {
		err = o.group.tell(ctx, writes, guard)
	}
	if err == nil && guard != nil {
		err = o.guard(guard)
	}
	if err == nil {
		return nil
	}
	for _, w := range slices.Backward(undo) { // not under ctx: half an update is worse than a late one
		err = errors.Join(err, o.revert(w))
	}
	return errors.Join(err, o.group.tell(context.WithoutCancel(ctx), undo, nil))
}

// run applies the writes and returns what takes those back that were applied.
func (o *openGroup) run(ctx context.Context, writes []write) (undo []write, err error) {
	err = run(writes, func(w write) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		d, err := o.in(w.controller)
		if err != nil {
			return err
		}
		w = w.choose(d)
		old, err := before(d, w)
		if err != nil {
			return err
		}
		if err := o.set(ctx, d, w); err != nil {
			return err
		}
		undo = append(undo, old)
		return nil
	})
	return undo, err
}

// set applies one write, with care where it could cost somebody's life.
func (o *openGroup) set(ctx context.Context, d *sys.Dir, w write) error {
	if w.file == "memory.max" {
		return o.setMemoryMax(ctx, d, w)
	}
	return w.apply(d)
}

func (o *openGroup) guard(g *deviceGuard) error {
	d, err := o.at(g.hi)
	if err != nil {
		return err
	}
	return g.update(d)
}

func (o *openGroup) revert(w write) error {
	d, err := o.in(w.controller)
	if err == nil {
		err = w.apply(d)
	}
	if err != nil {
		return fmt.Errorf("set back: %w", err)
	}
	return nil
}

// present reads the limits that the new ones have to be seen beside.
func (o *openGroup) present(r *specs.LinuxResources) (present, error) {
	now := fresh
	if v2, _ := o.group.host.isV2("cpu"); !v2 || r.CPU == nil || !set(r.CPU.Period) || set(r.CPU.Quota) {
		return now, nil
	}
	d, err := o.in("cpu")
	if err != nil {
		return now, err
	}
	data, err := d.ReadFile("cpu.max", maxFile)
	if err != nil {
		return now, fmt.Errorf("read cpu.max: %w", err)
	}
	if fields := strings.Fields(string(data)); len(fields) > 0 {
		now.quota = fields[0]
	}
	return now, nil
}

// checkUse does what checkBeforeUpdate asks for.
func (o *openGroup) checkUse(m *specs.LinuxMemory) error {
	if m == nil || m.CheckBeforeUpdate == nil || !*m.CheckBeforeUpdate || !set(m.Limit) || *m.Limit < 0 {
		return nil
	}
	v2, _ := o.group.host.isV2("memory")
	d, err := o.in("memory")
	if err != nil {
		return err
	}
	file := "memory.usage_in_bytes"
	if v2 {
		file = "memory.current"
	}
	used, err := readNumber(d, file)
	if err != nil {
		return err
	}
	if used > uint64(*m.Limit) {
		return errdefs.FailedPrecondition("linux.resources.memory.limit: %d bytes are in use, more than %d", used, *m.Limit)
	}
	return nil
}
