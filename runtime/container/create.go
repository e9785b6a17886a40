package container

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/prepare"
)

// Create checks the spec, makes the container's control group (Spec.Linux.CgroupsPath) and opens everything that the
// start will need. No process is made: a created container is a handful of open files. Warnings (a capability that this
// machine does not have, a limit that had to be lowered) go to the log.
//
// ErrInvalid names the field of a malformed spec, ErrNotSupported what berth does not do (yet), ErrExists an ID in use.
// On error nothing is left behind.
func (r *Runtime) Create(ctx context.Context, o CreateOptions) (err error) {
	o.Mounts = maps.Clone(o.Mounts)
	defer func() { err = errors.Join(err, o.close()) }()
	p, err := r.plan(&o)
	if err != nil {
		return fmt.Errorf("create container %s: %w", o.ID, err)
	}
	c := newContainer(o.ID, nil, StatusCreated)
	if err := r.reserve(c); err != nil {
		return err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { r.drop(c); return nil })
	giveBack, err := c.take(ctx)
	if err != nil {
		return err
	}
	defer giveBack()
	if err := r.fill(ctx, c, p, &o, cu); err != nil {
		return fmt.Errorf("create container %s: %w", o.ID, err)
	}
	for _, w := range append(p.Warnings, cgroup.Ignored(o.Spec.Linux.Resources)...) {
		r.cfg.Logger.WarnContext(ctx, "container differs from what was asked", "container", o.ID, "difference", w)
	}
	cu.Release()
	return nil
}

// close closes the files that nothing has taken over.
func (o *CreateOptions) close() error {
	var errs []error
	for _, f := range append(slices.Collect(maps.Values(o.Mounts)), o.Root) {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	o.Root, o.Mounts = nil, nil
	return errors.Join(errs...)
}

// plan does all that can be decided without an effect.
func (r *Runtime) plan(o *CreateOptions) (*plan.Plan, error) {
	if err := checkID(o.ID); err != nil {
		return nil, err
	}
	facts, err := r.factsFor(o.Spec)
	if err != nil {
		return nil, err
	}
	facts.Prepared = slices.Collect(maps.Keys(o.Mounts))
	p, err := plan.New(o.Spec, facts)
	if err != nil {
		return nil, err
	}
	if err := r.cfg.Cgroups.Check(o.Spec.Linux.CgroupsPath, o.Spec.Linux.Resources); err != nil {
		return nil, err
	}
	switch {
	case o.Terminal != o.Spec.Process.Terminal:
		return nil, errdefs.Invalid("process.terminal: %t, but the container was asked for with %t", o.Spec.Process.Terminal, o.Terminal)
	case o.LogPath != "" && !filepath.IsAbs(o.LogPath):
		return nil, errdefs.Invalid("log path %q is not absolute", o.LogPath)
	}
	for dest := range o.Mounts {
		if !slices.ContainsFunc(p.Mounts, func(m plan.Mount) bool { return m.Prepared && m.Destination == filepath.Clean(dest) }) {
			return nil, errdefs.Invalid("a mount is given for %s, which is not in mounts", dest)
		}
	}
	return p, nil
}

// factsFor adds to what is known of the machine the filter of a spec's seccomp profile.
func (r *Runtime) factsFor(spec *specs.Spec) (facts plan.Facts, err error) {
	facts = r.facts
	if spec != nil && spec.Linux != nil {
		facts.Seccomp, err = r.filters.Compile(spec.Linux.Seccomp)
	}
	return facts, err
}

// checkID refuses what could not be the name of a folder, or meant something else to the keeper.
func checkID(id string) error {
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-.", r))
	}
	if id == "" || len(id) > 128 || id[0] == '.' || strings.ContainsFunc(id, bad) || strings.Contains(id, execMark) {
		return errdefs.Invalid("container ID %q: 1 to 128 of [A-Za-z0-9_.-], without %q, not beginning with a dot", id, execMark)
	}
	return nil
}

func (r *Runtime) reserve(c *container) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errdefs.Unavailable("the runtime is closed")
	}
	if r.containers[c.id] != nil {
		return errdefs.Exists("container %s exists", c.id)
	}
	r.containers[c.id] = c
	return nil
}

func (r *Runtime) drop(c *container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.containers[c.id] == c {
		delete(r.containers, c.id)
	}
}

// fill makes the control group and opens the files of a created container.
func (r *Runtime) fill(ctx context.Context, c *container, p *plan.Plan, o *CreateOptions, cu *cleanup.Stack) error {
	group, err := r.cfg.Cgroups.Renew(ctx, o.Spec.Linux.CgroupsPath, o.Spec.Linux.Resources)
	if err != nil {
		return err
	}
	cu.Add(func() error { return group.Remove(context.WithoutCancel(ctx)) })
	share, err := r.makeShare(o.ID, p)
	if err != nil {
		return err
	}
	cu.Add(share.Remove)
	opts := prepare.Options{Spec: o.Spec, Root: o.Root, Mounts: o.Mounts}
	o.Root = nil
	pr, err := prepare.Open(p, &opts)
	if err != nil {
		o.Root = opts.Root
		return err
	}
	cu.Add(pr.GiveBack)
	if p.OwnCgroup {
		if err := group.Give(pr.ProcessIDs()); err != nil {
			return errors.Join(err, pr.Close())
		}
	}
	s := &startFiles{prepared: pr, flags: p.Flags, pidns: pr.TakePIDNS()}
	if s.cgroup, pr.Files.Tasks, err = prepare.Join(group, share, false); err != nil {
		return errors.Join(err, s.Close())
	}
	if !pr.Late() { // all that can be done before the start is
		if err := s.write(); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	s.managed = client.Managed{
		Dir: filepath.Join(r.cfg.State, o.ID), LogPath: o.LogPath, Stdin: o.Stdin, StdinOnce: o.StdinOnce,
		Master: pr.Terminal.Master, Slave: pr.Terminal.Slave,
	}
	s.managed.UID, s.managed.GID = pr.ProcessIDs()
	c.mu.Lock()
	c.group, c.share, c.start, c.inherited = group, share, s, plan.Inherit(o.Spec)
	c.seccomp, c.annotations = o.Spec.Linux.Seccomp, o.Spec.Annotations
	c.mu.Unlock()
	return pr.Settle()
}
