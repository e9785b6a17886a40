package cgroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Create makes the group at path in every hierarchy and sets its limits; missing parents are made without limits. It is
// all-or-nothing: after an error nothing that it made is left. A group that exists in any hierarchy is
// errdefs.ErrExists. Controllers are switched on in the parents: all of them in mode V2, on demand in mode Hybrid.
//
// With device rules given, the group allows what they say and the default devices of the runtime spec, and denies the
// rest; without any, it inherits its parent's.
func (h *Host) Create(ctx context.Context, path string, r *specs.LinuxResources) (_ *Group, err error) {
	g, err := h.group(path)
	if err != nil {
		return nil, err
	}
	m := maker{host: h}
	if err := m.plan(r); err != nil {
		return nil, fmt.Errorf("create cgroup %s: %w", path, err)
	}
	if u, ok := g.unit(); ok {
		if err := m.createUnit(ctx, g, u); err != nil {
			return nil, err
		}
		return g, nil
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	if err := m.makeAll(ctx, cu, g.path); err != nil {
		return nil, fmt.Errorf("create %w", err)
	}
	cu.Release()
	return g, nil
}

// Check tells, without an effect, what Create would refuse of a spec for what it says: an error of kind ErrInvalid or
// ErrNotSupported that begins with the field.
func (h *Host) Check(path string, r *specs.LinuxResources) error {
	if _, err := h.group(path); err != nil {
		return fmt.Errorf("linux.cgroupsPath: %w", err)
	}
	m := maker{host: h}
	return m.plan(r)
}

// makeAll makes the group in every hierarchy.
func (m *maker) makeAll(ctx context.Context, cu *cleanup.Stack, path string) error {
	for _, hi := range m.host.hierarchies {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cgroup %s: %w", path, err)
		}
		if err := m.make(cu, hi, path[1:]); err != nil {
			return fmt.Errorf("cgroup %s in %s: %w", path, hi.mount, err)
		}
	}
	return nil
}

// Ensure makes the group at path where it is missing, without limits, and returns it.
func (h *Host) Ensure(ctx context.Context, path string) (_ *Group, err error) {
	g, err := h.group(path)
	if err != nil {
		return nil, err
	}
	m := maker{host: h, ensure: true}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	if err := m.makeAll(ctx, cu, g.path); err != nil {
		return nil, fmt.Errorf("ensure %w", err)
	}
	cu.Release()
	return g, nil
}

func (h *Host) isV2(controller string) (v2, present bool) {
	hi := h.byController[controller]
	return hi != nil && hi.v2, hi != nil
}

// maker makes one group in one hierarchy after the other.
type maker struct {
	host   *Host
	writes []write
	guard  *deviceGuard // nil without device rules
	ensure bool         // existing is fine
}

func (m *maker) plan(r *specs.LinuxResources) (err error) {
	if r == nil {
		return nil
	}
	if m.writes, err = plan(planner{v2: m.host.isV2, now: fresh}, r); err != nil {
		return err
	}
	m.guard, err = m.host.planGuard(r.Devices)
	return err
}

// make makes the group at path (relative) in hi, and its limits. What it made is undone by cu. Another call that made a
// parent for itself may take it away again, after a failure, under our hands: then it is made once more.
func (m *maker) make(cu *cleanup.Stack, hi *hierarchy, path string) (err error) {
	for range 5 {
		if err = m.once(cu, hi, path); !errors.Is(err, errParentGone) {
			return err
		}
	}
	return err
}

var errParentGone = errors.New("the parent group was removed meanwhile")

// goneOr tells what failed, and if it was for a group that is no longer there.
func goneOr(err error, what string) error {
	if gone(err) {
		return fmt.Errorf("%s: %w: %w", what, errParentGone, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (m *maker) once(cu *cleanup.Stack, hi *hierarchy, path string) error {
	parent, err := m.parent(cu, hi, path)
	if err != nil {
		return err
	}
	mine := m.writesOf(hi)
	if !m.ensure && len(mine) == 0 && !hi.v1CPUSet() && (m.guard == nil || m.guard.hi != hi) { // there is nothing to do in it
		return errors.Join(m.mkdir(cu, hi, parent, path), parent.Close())
	}
	leaf, err := m.child(cu, hi, parent, path)
	if err := errors.Join(err, parent.Close()); err != nil {
		return err
	}
	err = m.limit(hi, leaf, mine)
	return errors.Join(err, leaf.Close())
}

// parent returns the folder above path, making what is missing of it.
func (m *maker) parent(cu *cleanup.Stack, hi *hierarchy, path string) (*sys.Dir, error) {
	above := "."
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		above = path[:i]
	}
	d, err := hi.root.OpenDirBeneath(above)
	if errors.Is(err, fs.ErrNotExist) {
		return m.walk(cu, hi, above)
	}
	if err != nil {
		return nil, fmt.Errorf("open the parent group: %w", err)
	}
	ready, err := m.ready(hi, d)
	if ready {
		return d, nil
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	return m.walk(cu, hi, above)
}

// ready tells whether a group can be made in parent without a look at the groups above it.
func (m *maker) ready(hi *hierarchy, parent *sys.Dir) (bool, error) {
	if hi.v1CPUSet() {
		for _, file := range cpusetFiles {
			data, err := parent.ReadFile(file, maxFile)
			if err != nil {
				return false, goneOr(err, "read the parent's "+file)
			}
			if len(bytes.TrimSpace(data)) == 0 {
				return false, nil
			}
		}
	}
	missing, err := m.missing(hi, parent)
	return len(missing) == 0, err
}

// cpusetFiles must both be filled before a process can join a v1 cpuset.
var cpusetFiles = [...]string{"cpuset.cpus", "cpuset.mems"}

func (hi *hierarchy) v1CPUSet() bool { return !hi.v2 && slices.Contains(hi.controllers, "cpuset") }

func (m *maker) walk(cu *cleanup.Stack, hi *hierarchy, path string) (*sys.Dir, error) {
	d, err := hi.root.OpenDirBeneath(".")
	if err != nil {
		return nil, err
	}
	if err := m.delegate(hi, d); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if path == "." {
		return d, nil
	}
	parents := &maker{host: m.host, writes: m.writes, ensure: true}
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		next, err := parents.child(cu, hi, d, path[:i])
		if err == nil {
			err = m.delegate(hi, next)
		}
		if err := errors.Join(err, d.Close()); err != nil {
			if next != nil {
				err = errors.Join(err, next.Close())
			}
			return nil, err
		}
		d = next
	}
	return d, nil
}

// child makes (or, with ensure, opens) the group at path in its parent.
func (m *maker) child(cu *cleanup.Stack, hi *hierarchy, parent *sys.Dir, path string) (*sys.Dir, error) {
	name := base(path)
	err := m.mkdir(cu, hi, parent, path)
	fresh := err == nil
	if err != nil && !(m.ensure && errors.Is(err, errdefs.ErrExists)) {
		return nil, err
	}
	d, err := parent.OpenDir(name)
	if err != nil {
		return nil, goneOr(err, "open folder "+name)
	}
	if hi.v1CPUSet() {
		if err := inheritCPUSet(parent, d, fresh); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return d, nil
}

func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// mkdir makes the group at path in its parent.
func (m *maker) mkdir(cu *cleanup.Stack, hi *hierarchy, parent *sys.Dir, path string) error {
	err := parent.Mkdir(base(path), 0o755)
	switch {
	case err == nil:
		cu.Add(func() error { return hi.remove(path) })
		return nil
	case errors.Is(err, syscall.EEXIST):
		return errdefs.Exists("it exists already")
	}
	return goneOr(err, "make folder "+base(path))
}

// remove deletes what an unfinished Create made; a parent that somebody else makes groups in by now (EBUSY) stays.
func (hi *hierarchy) remove(path string) error {
	err := hi.root.RmdirBeneath(path)
	if err == nil || gone(err) || errors.Is(err, syscall.EBUSY) {
		return nil
	}
	return fmt.Errorf("remove cgroup %s from %s: %w", path, hi.mount, err)
}

// inheritCPUSet fills an empty v1 cpuset from its parent. A fresh one is known to be empty.
func inheritCPUSet(parent, child *sys.Dir, fresh bool) error {
	for _, file := range cpusetFiles {
		if !fresh {
			have, err := child.ReadFile(file, maxFile)
			if err != nil {
				return goneOr(err, "read "+file)
			}
			if len(bytes.TrimSpace(have)) > 0 {
				continue
			}
		}
		value, err := parent.ReadFile(file, maxFile)
		if err != nil {
			return goneOr(err, "read the parent's "+file)
		}
		if err := child.WriteFile(file, string(value)); err != nil {
			return goneOr(err, "write "+file)
		}
	}
	return nil
}

// writesOf returns the planned writes to files of hi.
func (m *maker) writesOf(hi *hierarchy) (mine []write) {
	for _, w := range m.writes {
		if m.host.byController[w.controller] == hi {
			mine = append(mine, w)
		}
	}
	return mine
}

// limit sets the limits in hi.
func (m *maker) limit(hi *hierarchy, leaf *sys.Dir, mine []write) error {
	if err := run(mine, func(w write) error { return w.choose(leaf).apply(leaf) }); err != nil {
		return err
	}
	if m.guard == nil || m.guard.hi != hi {
		return nil
	}
	return m.guard.install(leaf)
}
