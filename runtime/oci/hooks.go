package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// runHooks runs hooks in this process's namespaces, one after the other, until one fails. They get the state on standard
// input.
func (c *container) runHooks(ctx context.Context, kind string, hooks []specs.Hook, status specs.ContainerState) error {
	for i, h := range hooks {
		if err := runHook(ctx, h, c.hookState(status)); err != nil {
			return fmt.Errorf("run hooks.%s[%d] %s: %w", kind, i, h.Path, err)
		}
	}
	return nil
}

// warnHooks is runHooks for those whose failure changes nothing: it is logged, and the next one runs (runtime-spec,
// runtime.md, "Lifecycle"). Nor does the end of an interruptible context; a signal kills the hook that runs, and no more.
func (r *Runtime) warnHooks(ctx context.Context, c *container, kind string, hooks []specs.Hook, status specs.ContainerState) {
	for i, h := range hooks {
		hookCtx, stop := interruptible(context.WithoutCancel(ctx))
		err := runHook(hookCtx, h, c.hookState(status))
		stop()
		if err != nil {
			r.cfg.Logger.WarnContext(ctx, "hook failed", "hook", fmt.Sprintf("%s[%d] %s", kind, i, h.Path), "error", err)
		}
	}
}

func runHook(ctx context.Context, h specs.Hook, state specs.State) error {
	ctx, cancel := hookContext(ctx, h)
	defer cancel()
	stdin, output, err := hookStdio(state)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, h.Path)
	cmd.Args, cmd.Env, cmd.Dir = hookArgs(h), hookEnv(h), state.Bundle
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, output.w, output.w
	if err = sys.WithDefaults(cmd.Start); err == nil {
		err = cmd.Wait()
	}
	if ctx.Err() != nil {
		err = hookEnded(ctx, h)
	}
	return errors.Join(output.end(err), stdin.Close())
}

// hookStdio opens what a hook reads, the state, and what takes its output.
func hookStdio(state specs.State) (stdin *os.File, output *hookOutput, err error) {
	if stdin, err = stateFile(state); err != nil {
		return nil, nil, err
	}
	if output, err = newHookOutput(); err != nil {
		return nil, nil, errors.Join(err, stdin.Close())
	}
	return stdin, output, nil
}

// maxHookTimeout is, in seconds, what a [time.Duration] can hold: 292 years.
const maxHookTimeout = math.MaxInt64 / int64(time.Second)

func hookContext(ctx context.Context, h specs.Hook) (context.Context, context.CancelFunc) {
	if h.Timeout == nil || int64(*h.Timeout) > maxHookTimeout {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(*h.Timeout)*time.Second)
}

// hookEnded says why a hook was killed whose context has ended.
func hookEnded(ctx context.Context, h specs.Hook) error {
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) || h.Timeout == nil {
		return errdefs.FailedPrecondition("it was killed: %w", err)
	}
	return errdefs.FailedPrecondition("it was killed after its timeout of %d s", *h.Timeout)
}

// hookArgs are the arguments with the name: a hook without any gets its path, as execv(3) wants one.
func hookArgs(h specs.Hook) []string {
	if len(h.Args) == 0 {
		return []string{h.Path}
	}
	return h.Args
}

// hookEnv never is nil, which would stand for our own environment.
func hookEnv(h specs.Hook) []string { return append([]string{}, h.Env...) }

// stateFile returns the state as a file to read.
func stateFile(state specs.State) (*os.File, error) {
	data, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	mem, err := sys.SealedMemory("state", data)
	if err != nil {
		return nil, err
	}
	written := mem.File("state")
	f, err := sys.Reopen(written, os.O_RDONLY) // from its beginning
	return f, errors.Join(err, written.Close())
}
