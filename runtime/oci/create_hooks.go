package oci

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/plan"
)

// checkpoint does the launcher's part while the child waits.
func (b *builder) checkpoint(ctx context.Context, cp fork.Checkpoint) error {
	switch cp.Tag {
	case fork.TagListener:
		return b.c.sendListener(ctx, b.spec, cp, specs.StateCreating)
	case plan.TagHooks:
	default:
		return errdefs.Bug("checkpoint %d", cp.Tag)
	}
	err := b.createHooks(ctx, cp.Child)
	b.hooksFailed = err != nil
	return err
}

// createHooks runs those hooks that come before pivot_root, in the spec's order.
func (b *builder) createHooks(ctx context.Context, child fork.Child) error {
	h := b.spec.Hooks
	//lint:ignore SA1019 old bundles use the deprecated field
	if err := b.c.runHooks(ctx, "prestart", h.Prestart, specs.StateCreating); err != nil {
		return err
	}
	if err := b.c.runHooks(ctx, "createRuntime", h.CreateRuntime, specs.StateCreating); err != nil {
		return err
	}
	for i, hook := range h.CreateContainer {
		if err := b.inside(ctx, hook, child); err != nil {
			return fmt.Errorf("run hooks.createContainer[%d] %s: %w", i, hook.Path, err)
		}
	}
	return nil
}

// stopHooks runs the poststop hooks of a container that its own hooks have stopped (runtime-spec, runtime.md, "Lifecycle",
// 3 to 5 and 13).
func (b *builder) stopHooks(ctx context.Context) {
	if b.hooksFailed {
		b.r.warnHooks(ctx, b.c, "poststop", b.spec.Hooks.Poststop, specs.StateStopped)
	}
}

// inside runs a createContainer hook: a program of the host, whose mounts are all there still, in the container's
// namespaces.
func (b *builder) inside(ctx context.Context, h specs.Hook, child fork.Child) (err error) {
	ctx, cancel := hookContext(ctx, h)
	defer cancel()
	w := fork.NewBuilder()
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(w.Close)
	pidfd, err := sys.Dup(child.Pidfd)
	if err != nil {
		return err
	}
	w.Call("join the container's namespaces", sys.NrSetns, w.File(pidfd), fork.Imm(b.namespaces()))
	if b.plan.User != nil { // who is not mapped there would lose all rights by execve
		zero := fork.Imm(0)
		w.Call("become the namespace's root group", sys.NrSetresgid, zero, zero, zero)
		w.Call("become the namespace's root", sys.NrSetresuid, zero, zero, zero)
	}
	w.Call("change to bundle "+b.c.rec.Bundle, sys.NrChdir, w.Str(b.c.rec.Bundle))
	for i := range 3 {
		w.Call("set up stdio", sys.NrDup3, w.Stdio(i), fork.Int(i), fork.Imm(0))
	}
	w.Call("execute "+h.Path, sys.NrExecve, w.Str(h.Path), w.Argv(hookArgs(h)), w.Argv(hookEnv(h)))
	program, err := w.Program()
	if err != nil {
		return err
	}
	cu.Add(program.Close)
	return runForked(ctx, h, program, b.c.hookState(specs.StateCreating), fork.Options{PIDNS: pidfd})
}

// namespaces are those that the container does not share with us, but for the PID namespace, which a process is born in.
func (b *builder) namespaces() uint64 {
	flags := b.plan.Flags | b.plan.Inner
	if b.plan.User != nil {
		flags |= sys.CloneNewuser
	}
	for _, j := range b.plan.Join {
		flags |= plan.Flag(j.Type)
	}
	if b.plan.UnshareCgroup {
		flags |= sys.CloneNewcgroup
	}
	return flags &^ plan.Flag(specs.PIDNamespace)
}

// runForked runs a hook that is a program, with the state on standard input, and waits for its end.
func runForked(ctx context.Context, h specs.Hook, p *fork.Program, state specs.State, o fork.Options) error {
	stdin, output, err := hookStdio(state)
	if err != nil {
		return err
	}
	o.Stdio = [3]*os.File{stdin, output.w, output.w}
	child, err := fork.Start(p, o)
	if err == nil {
		err = errors.Join(waitHook(ctx, h, child), child.Pidfd.Close())
	}
	return errors.Join(output.end(err), stdin.Close())
}

// waitHook waits for the end of a hook that was forked by hand.
func waitHook(ctx context.Context, h specs.Hook, child fork.Child) error {
	exit, err := waitChild(ctx, child)
	switch {
	case ctx.Err() != nil:
		return errors.Join(hookEnded(ctx, h), killChild(context.WithoutCancel(ctx), child))
	case err != nil:
		return err
	case exit.Signal != 0:
		return errdefs.FailedPrecondition("it was ended by signal %d", exit.Signal)
	case exit.Status != 0:
		return errdefs.FailedPrecondition("exit status %d", exit.Status)
	}
	return nil
}
