package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/cgroup"
)

// RunOptions describe a container to run.
type RunOptions struct {
	CreateOptions
	Detach bool // return when it runs
	Keep   bool // do not delete it after its end
}

// Run makes a container and starts it at once. Unless detached, it waits for the end, deletes the container and returns
// its process's exit code.
func (r *Runtime) Run(ctx context.Context, o RunOptions) (code int, err error) {
	b, err := readBundle(o.Bundle)
	if err == nil {
		err = checkTerminal(b.spec, o.Detach, o.ConsoleSocket)
	}
	if err != nil {
		return 0, fmt.Errorf("run container: %w", err)
	}
	err = withHost(r.cfg.Systemd, func(host *cgroup.Host) error {
		code, err = r.run(ctx, b, host, o)
		return err
	})
	return code, err
}

func (r *Runtime) run(ctx context.Context, b *bundle, host *cgroup.Host, o RunOptions) (code int, err error) {
	var signals chan os.Signal
	if !o.Detach {
		signals = catchEnding()
	}
	m, err := r.runStart(ctx, b, host, o)
	if err != nil {
		return 0, fmt.Errorf("run container: %w", err)
	}
	if m.spec.Hooks != nil {
		r.warnHooks(ctx, m.container, "poststart", m.spec.Hooks.Poststart, specs.StateRunning)
	}
	if err := m.unlock(); err != nil {
		return 0, err
	}
	child := &Child{m.child, m.master, signals}
	cu := cleanup.Make(&err)
	defer cu.Clean() // never released
	cu.Add(child.Close)
	cu.Add(m.release)
	if o.Detach {
		return 0, nil
	}
	code, err = child.Wait(ctx, o.Stdio[0], o.Stdio[1])
	if o.Keep {
		return code, err
	}
	m.host, m.config = host, m.spec
	if lockErr := m.relock(); lockErr == nil {
		err = errors.Join(err, r.destroy(context.WithoutCancel(ctx), m.container, true))
	} else if !errors.Is(lockErr, errdefs.ErrNotFound) {
		err = errors.Join(err, lockErr)
	}
	return code, err
}

// runStart makes the container. With startContainer hooks, which come between the two, its process waits as if it had been
// created first.
func (r *Runtime) runStart(ctx context.Context, b *bundle, host *cgroup.Host, o RunOptions) (*made, error) {
	ctx, stop := forHooks(ctx, b.spec.Hooks)
	defer stop()
	hooks := b.spec.Hooks != nil && len(b.spec.Hooks.StartContainer) > 0
	m, err := r.make(ctx, b, host, makeOptions{o.CreateOptions, hooks})
	if err != nil || !hooks {
		return m, err
	}
	if err = r.startHooks(ctx, m.container, m.spec, m.child.Pidfd); err == nil {
		err = m.goOn()
	}
	if err == nil {
		return m, nil
	}
	undo := context.WithoutCancel(ctx)
	return nil, errors.Join(err, killChild(undo, m.child), m.removeGroup(undo), m.remove(), m.close())
}

// checkTerminal refuses what would leave a terminal without anybody at its other end, and a socket that nothing is sent to.
func checkTerminal(spec *specs.Spec, detach bool, socket string) error {
	wanted := spec.Process != nil && spec.Process.Terminal
	switch {
	case wanted && detach && socket == "":
		return errdefs.Invalid("cannot allocate tty if berth-oci will detach without setting console socket")
	case socket != "" && !(wanted && detach):
		return errdefs.Invalid("cannot use console socket if berth-oci will not detach or allocate tty")
	}
	return nil
}

// OpenPreserved returns the descriptors 3, 4, … that this process was given to pass on. What else it was given is closed
// on exec from now on. It must be called before files are opened by others.
func OpenPreserved(n int) ([]*os.File, error) {
	if n == 0 {
		return nil, sys.CloseOnExecFrom(3)
	}
	inherited, err := sys.Inherited(3)
	if err != nil {
		return nil, fmt.Errorf("look for descriptors to preserve: %w", err)
	}
	var list []*os.File
	for fd := sys.Raw(3); int(fd) < 3+n; fd++ {
		if !slices.Contains(inherited, fd) {
			return nil, errdefs.Invalid("descriptor %d of the %d to preserve is not open", fd, n)
		}
		list = append(list, fd.File(fmt.Sprintf("descriptor %d", fd)))
	}
	return list, nil
}
