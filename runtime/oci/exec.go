package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/prepare"
	"github.com/berth-runtime/berth/runtime/resctrl"
)

// ExecOptions describe a process to start in a running container. Files stay the caller's, but for Preserve.
type ExecOptions struct {
	ID           string
	Process      func(*specs.Spec) (*specs.Process, error) // from the container's configuration
	Stdio        [3]*os.File                               // the process's own, unless it has a terminal
	Preserve     []*os.File                                // as in CreateOptions
	Detach       bool                                      // do not wait for it: SIGTERM ends this process at any time
	IgnorePaused bool
	Cgroup       string // group below the container's to start in; "": the container's own

	ConsoleSocket, PidfdSocket, PidFile string // as in CreateOptions
}

// Exec starts a process in a running container. The result is this process's child.
func (r *Runtime) Exec(ctx context.Context, o ExecOptions) (_ *Child, err error) {
	child := &Child{}
	if !o.Detach {
		child.signals = catchEnding()
	}
	c, err := r.load(o.ID)
	if err != nil {
		return nil, err
	}
	status, pidfd, err := c.status()
	if err != nil {
		return nil, err
	}
	if pidfd == nil || status == StatusCreating {
		return nil, errdefs.FailedPrecondition("cannot exec in a stopped container")
	}
	cu := cleanup.Make(&err)
	defer cu.Clean() // what is opened here is for the start alone
	cu.Add(pidfd.Close)
	if status == StatusPaused && !o.IgnorePaused {
		return nil, errdefs.FailedPrecondition("cannot exec in a paused container (use --ignore-paused to override)")
	}
	spec, err := c.spec()
	if err != nil {
		return nil, err
	}
	process, err := o.Process(spec)
	if err == nil && !process.Terminal && o.ConsoleSocket != "" {
		err = errdefs.Invalid("process.terminal: false, but there is a console socket")
	}
	if err != nil {
		return nil, err
	}
	share, err := r.share(o.ID, spec)
	if err != nil {
		return nil, err
	}
	j, err := c.join(ctx, spec, process, joinOptions{pidfd: pidfd, share: share, preserve: o.Preserve, sub: o.Cgroup})
	if err != nil {
		return nil, err
	}
	cu.Add(j.close)
	if err := c.start(ctx, process, j, child, o); err != nil {
		return nil, err
	}
	r.warn(ctx, o.ID, j.warnings)
	return child, nil
}

// start connects the process's stdio and starts it. On error there is no process.
func (c *container) start(ctx context.Context, process *specs.Process, j *joined, child *Child, o ExecOptions) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(child.closeMaster)
	j.options.Stdio = o.Stdio
	if process.Terminal {
		slave, err := c.execTerminal(process, child, j, o.ConsoleSocket)
		if err != nil {
			return err
		}
		j.options.Stdio = [3]*os.File{slave, slave, slave}
		defer func() { err = errors.Join(err, slave.Close()) }()
	}
	if child.child, err = fork.Start(j.program, j.options); err != nil {
		return err
	}
	cu.Add(func() error {
		return errors.Join(killChild(context.WithoutCancel(ctx), child.child), child.child.Pidfd.Close())
	})
	if o.PidfdSocket != "" {
		if err := sendFile(o.PidfdSocket, "pidfd", child.child.Pidfd); err != nil {
			return fmt.Errorf("send the pidfd: %w", err)
		}
	}
	if err := writePidFile(o.PidFile, child.child.PID); err != nil {
		return err
	}
	cu.Release()
	return nil
}

// execTerminal makes a terminal in the container and sends its master away, or keeps it.
func (c *container) execTerminal(process *specs.Process, child *Child, j *joined, socket string) (slave *os.File, err error) {
	root, err := c.openRoot(j.options.PIDNS)
	if err != nil {
		return nil, err
	}
	t, err := prepare.OpenTerminal(root, process, j.user)
	if err := errors.Join(err, root.Close()); err != nil {
		return nil, err
	}
	if socket != "" {
		if err := sendMaster(socket, &t); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	child.master = t.Master
	return t.Slave, nil
}

// openRoot opens the root of the container's first process.
func (c *container) openRoot(pidfd *os.File) (*os.File, error) {
	root, err := sys.Openat2(nil, "/proc/"+strconv.Itoa(c.rec.PID)+"/root", sys.OPath, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("open the container's root: %w", err)
	}
	if err := sys.PidfdSignal(pidfd, 0); err != nil { // the number may be another's by now
		return nil, errors.Join(fmt.Errorf("open the container's root: %w", err), root.Close())
	}
	return root, nil
}

// joinOptions say how a process joins a container.
type joinOptions struct {
	pidfd    *os.File // of the container's first process
	file     string   // what to execute instead of looking for the first argument; "" looks
	preserve []*os.File
	share    *resctrl.Group // the container's
	sub      string         // group below the container's
}

// joined is a program that joins a container, and how to start it.
type joined struct {
	program *fork.Program
	options fork.Options
	user    uint32 // whom its terminal belongs to, as the host knows it

	warnings []string // what of the process's description has no effect
}

func (j *joined) close() error {
	errs := []error{j.program.Close()}
	if j.options.Cgroup != nil {
		errs = append(errs, j.options.Cgroup.Close())
	}
	return errors.Join(errs...)
}

// join plans a process in the container and opens what it needs.
func (c *container) join(ctx context.Context, spec *specs.Spec, process *specs.Process, o joinOptions) (j *joined, err error) {
	err = withHost(c.rec.Systemd, func(host *cgroup.Host) error {
		facts, err := c.facts(host, spec, o.pidfd)
		if err != nil {
			return err
		}
		p, err := plan.NewExec(process, facts)
		if err != nil {
			return err
		}
		if o.file != "" {
			p.Process.Paths = []string{o.file}
		}
		p.Launch.Preserve = o.preserve
		group, err := c.execGroup(ctx, host, o.sub)
		if err != nil {
			return err
		}
		if j, err = c.openJoin(group, o.share, p, o.pidfd); err == nil {
			j.options.Checkpoint = func(cp fork.Checkpoint) error {
				if cp.Tag != fork.TagListener {
					return errdefs.Bug("checkpoint %d", cp.Tag)
				}
				return c.sendListener(ctx, spec, cp, specs.StateRunning)
			}
			j.warnings = p.Warnings
			j.user, _ = prepare.HostIDs(p.Target.User, p.Process.UID, p.Process.GID)
		}
		return err
	})
	return j, err
}

// facts are those of the machine and of the container, whose seccomp profile holds for all that is started in it.
func (c *container) facts(host *cgroup.Host, spec *specs.Spec, pidfd *os.File) (plan.Facts, error) {
	facts, err := prepare.ReadFacts(host)
	if err != nil {
		return facts, err
	}
	if facts.Target, err = prepare.Target(c.rec.PID); err != nil {
		return facts, err
	}
	if facts.Seccomp, err = compile(spec.Linux.Seccomp); err != nil {
		return facts, err
	}
	facts.Inherited = plan.Inherit(spec)
	return facts, sys.PidfdSignal(pidfd, 0) // the number was its own when the kernel was asked
}

// execGroup returns the group that a process starts in.
func (c *container) execGroup(ctx context.Context, host *cgroup.Host, sub string) (*cgroup.Group, error) {
	group, err := host.Open(c.rec.Cgroup)
	switch {
	case err != nil:
		return nil, err
	case sub != "":
		return group.Sub(ctx, sub)
	default:
		return group.Joinable(c.rec.PID)
	}
}

func (c *container) openJoin(group *cgroup.Group, share *resctrl.Group, p *plan.Exec, pidfd *os.File) (_ *joined, err error) {
	j := &joined{options: fork.Options{PIDNS: pidfd}}
	files := &plan.Files{}
	if j.options.Cgroup, files.Tasks, err = prepare.Join(group, share, len(p.Affinity.Initial) > 0); err != nil {
		return nil, err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	if j.options.Cgroup != nil {
		cu.Add(j.options.Cgroup.Close)
	}
	cu.Add(files.Close)
	target, err := sys.Dup(pidfd)
	if err != nil {
		return nil, err
	}
	if p.HostMounts {
		if p.Root, err = c.openRoot(pidfd); err != nil {
			return nil, errors.Join(err, target.Close())
		}
	}
	tasks := files.Tasks
	files.Tasks = nil // the program's from here on
	if j.program, err = p.Program(target, tasks); err != nil {
		return nil, err
	}
	cu.Release()
	return j, nil
}
