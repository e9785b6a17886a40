package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/atomicfile"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/prepare"
	"github.com/berth-runtime/berth/runtime/resctrl"
	"github.com/berth-runtime/berth/runtime/seccomp"
)

// CreateOptions describe a container to make. Files stay the caller's, but for Preserve.
type CreateOptions struct {
	ID, Bundle   string
	NoPivot      bool
	NoNewKeyring bool
	Stdio        [3]*os.File // the process's own, unless it has a terminal
	Preserve     []*os.File  // descriptors 3, 4, … which the process keeps; taken over
	Env          []string    // added to the process's

	ConsoleSocket string // where a terminal's master is sent (SCM_RIGHTS)
	PidfdSocket   string // where the process's pidfd is sent; "": nowhere
	PidFile       string // where its number is written; "": nowhere
}

// Create makes a container whose process waits for Start. On error nothing is left, but for what poststop hooks did.
func (r *Runtime) Create(ctx context.Context, o CreateOptions) error {
	err := r.create(ctx, o)
	if err != nil {
		err = fmt.Errorf("create container: %w", err)
	}
	return err
}

func (r *Runtime) create(ctx context.Context, o CreateOptions) error {
	b, err := readBundle(o.Bundle)
	if err == nil {
		err = checkTerminal(b.spec, true, o.ConsoleSocket)
	}
	if err != nil {
		return err
	}
	ctx, stop := forHooks(ctx, b.spec.Hooks)
	defer stop()
	return withHost(r.cfg.Systemd, func(host *cgroup.Host) error {
		m, err := r.make(ctx, b, host, makeOptions{o, true})
		if err != nil {
			return err
		}
		return m.close()
	})
}

// made is a container with its process, child of this one.
type made struct {
	*container
	spec   *specs.Spec
	child  fork.Child
	master *os.File // of a terminal that was not sent anywhere
}

func (m *made) close() error {
	errs := []error{m.release(), m.child.Pidfd.Close()}
	if m.master != nil {
		errs = append(errs, m.master.Close())
	}
	return errors.Join(errs...)
}

// makeOptions are those of create and of run.
type makeOptions struct {
	CreateOptions
	wait bool // the process waits for Start, else it runs
}

// make does what create and run have in common.
func (r *Runtime) make(ctx context.Context, bundle *bundle, host *cgroup.Host, o makeOptions) (m *made, err error) {
	if err := checkID(o.ID); err != nil {
		return nil, err
	}
	spec := bundle.spec
	if err := r.resolve(host, spec, o.ID); err != nil {
		return nil, err
	}
	p, err := newPlan(spec, host, &o.CreateOptions)
	if err != nil {
		return nil, err
	}
	c, err := r.reserve(record{
		Version: recordVersion, ID: o.ID, OCIVersion: spec.Version, Bundle: bundle.dir, Rootfs: spec.Root.Path,
		Cgroup: spec.Linux.CgroupsPath, Systemd: r.cfg.Systemd, Created: time.Now().UTC(), Annotations: spec.Annotations,
	}, bundle.data)
	if err != nil {
		return nil, err
	}
	b := &builder{r: r, c: c, spec: spec, plan: p, opts: &o}
	if m, err = b.build(ctx, host); err != nil {
		return nil, err // alone in the log: podman reads a log that has one message only
	}
	r.warn(ctx, o.ID, append(p.Warnings, cgroup.Ignored(spec.Linux.Resources)...))
	return m, nil
}

// newPlan decides all that can be decided before the first effect.
func newPlan(spec *specs.Spec, host *cgroup.Host, o *CreateOptions) (*plan.Plan, error) {
	facts, err := prepare.ReadFacts(host)
	if err != nil {
		return nil, err
	}
	facts.Hooks, facts.HostMounts = true, true
	if spec.Process == nil {
		return nil, errdefs.Invalid("process: missing")
	}
	spec.Process.Env = append(spec.Process.Env, o.Env...)
	if facts.Seccomp, err = compile(spec.Linux.Seccomp); err != nil {
		return nil, err
	}
	p, err := plan.New(spec, facts)
	if err != nil {
		return nil, err
	}
	if err := host.Check(spec.Linux.CgroupsPath, spec.Linux.Resources); err != nil {
		return nil, err
	}
	if hasHooks(spec) {
		p.Launch.HookRoot = spec.Root.Path
	}
	p.Launch.NoPivot, p.Launch.NoNewKeyring, p.Launch.Preserve = o.NoPivot, o.NoNewKeyring, o.Preserve
	return p, nil
}

// compile compiles a profile. Without one there is no use for a compiler, whose tables take longer to read than a process to
// fork.
func compile(profile *specs.LinuxSeccomp) (*seccomp.Filter, error) {
	if profile == nil {
		return nil, nil
	}
	return seccomp.NewCompiler().Compile(profile)
}

// hasHooks tells whether there are hooks that come before pivot_root.
func hasHooks(spec *specs.Spec) bool {
	h := spec.Hooks
	//lint:ignore SA1019 old bundles use the deprecated field
	return h != nil && len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer) > 0
}

// builder makes one container.
type builder struct {
	r    *Runtime
	c    *container
	spec *specs.Spec
	plan *plan.Plan
	opts *makeOptions

	hooksFailed bool
}

func (b *builder) build(ctx context.Context, host *cgroup.Host) (_ *made, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	undo := context.WithoutCancel(ctx)
	cu.Add(b.c.remove)
	cu.Add(func() error { b.stopHooks(undo); return nil })
	group, err := host.Renew(ctx, b.c.rec.Cgroup, b.spec.Linux.Resources)
	if err != nil {
		return nil, err
	}
	cu.Add(func() error { return errors.Join(group.Kill(undo), group.Remove(undo)) })
	share, err := b.r.makeShare(b.c.rec.ID, b.plan)
	if err != nil {
		return nil, err
	}
	cu.Add(share.Remove)
	pr, err := prepare.Open(b.plan, &prepare.Options{Spec: b.spec})
	if err != nil {
		return nil, err
	}
	cu.Add(pr.Close)
	cu.Add(pr.GiveBack)
	if err := pr.FindCommand(); err != nil {
		return nil, err
	}
	if b.plan.OwnCgroup {
		if err := group.Give(pr.ProcessIDs()); err != nil {
			return nil, err
		}
	}
	m, err := b.launch(ctx, group, share, pr)
	if err != nil {
		return nil, err
	}
	cu.Add(func() error { return errors.Join(killChild(undo, m.child), m.close()) })
	if err := errors.Join(group.Vacate(), b.tell(m)); err != nil {
		return nil, err
	}
	m.master, pr.Terminal.Master = pr.Terminal.Master, nil
	cu.Release()
	return m, errors.Join(pr.Settle(), pr.Close())
}

// launch forks the process and brings it to where it waits, or runs.
func (b *builder) launch(ctx context.Context, group *cgroup.Group, share *resctrl.Group, pr *prepare.Prepared) (_ *made, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean() // all that is opened here is for the start alone
	stdio := b.opts.Stdio
	if b.spec.Process.Terminal {
		if stdio, err = b.terminal(pr); err != nil {
			return nil, err
		}
	}
	if b.opts.wait {
		if err := b.openFIFOs(); err != nil {
			return nil, err
		}
	}
	options := fork.Options{Flags: b.plan.Flags, Stdio: stdio, Forked: b.forked, PIDNS: pr.TakePIDNS()}
	if options.PIDNS != nil {
		cu.Add(options.PIDNS.Close)
	}
	if options.Cgroup, pr.Files.Tasks, err = prepare.Join(group, share, false); err != nil {
		return nil, err
	}
	if options.Cgroup != nil {
		cu.Add(options.Cgroup.Close)
	}
	program, err := pr.Program()
	if err != nil {
		return nil, err
	}
	cu.Add(program.Close)
	options.Checkpoint = func(cp fork.Checkpoint) error { return b.checkpoint(ctx, cp) }
	child, err := fork.Start(program, options)
	if err != nil {
		return nil, err
	}
	return &made{container: b.c, spec: b.spec, child: child}, nil
}

// openFIFOs makes the FIFOs. They are opened for both directions: so nothing waits, and no reader sees an end before the
// process's execve.
func (b *builder) openFIFOs() error {
	for _, f := range []struct {
		name string
		to   **os.File
	}{{startFile, &b.plan.Launch.Start}, {tellFile, &b.plan.Launch.Tell}} {
		path := b.c.file(f.name)
		if err := sys.Mkfifo(path, 0, 0); err != nil {
			return fmt.Errorf("make FIFO %s: %w", path, err)
		}
		file, err := sys.Openat2(nil, path, os.O_RDWR, 0, 0)
		if err != nil {
			return fmt.Errorf("open FIFO %s: %w", path, err)
		}
		*f.to = file // the program's from here on
	}
	return nil
}

// forked notes the process. With hooks that is recorded at once, as they may ask for the state.
func (b *builder) forked(child fork.Child) error {
	stat, err := sys.ReadProcStat(child.PID)
	if err != nil {
		return err
	}
	b.c.rec.PID, b.c.rec.StartTime = child.PID, stat.StartTime
	if b.plan.Launch.HookRoot == "" {
		return nil
	}
	return b.c.save()
}

// tell makes the container known: to the state folder, and to those who asked for its process.
func (b *builder) tell(m *made) error {
	b.c.rec.Ready = true
	if err := b.c.save(); err != nil {
		return err
	}
	if b.opts.PidfdSocket != "" {
		if err := sendFile(b.opts.PidfdSocket, "pidfd", m.child.Pidfd); err != nil {
			return fmt.Errorf("send the pidfd: %w", err)
		}
	}
	return writePidFile(b.opts.PidFile, m.child.PID)
}

func writePidFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	if err := atomicfile.Write(filepath.Clean(path), []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	return nil
}
