package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// ExecSync runs a command in a running container and returns what it wrote. When the timeout (0: none) or ctx is over, the
// command and all that it has started are killed, and the error is context.DeadlineExceeded. Processes that it leaves in
// the background are not waited for.
func (m *Manager) ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (ExecResult, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	result, err := m.execSync(ctx, id, cmd)
	if err != nil {
		return result, fmt.Errorf("exec in container %s: %w", id, err)
	}
	return result, nil
}

func (m *Manager) execSync(ctx context.Context, id string, cmd []string) (result ExecResult, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()

	pipes, err := openPipes(false, true, true)
	cu.Add(pipes.close)
	if err != nil {
		return result, err
	}
	e, err := m.startExec(ctx, id, cmd, pipes.theirs(), false)
	if err != nil {
		return result, err
	}
	cu.Add(e.Close)
	if err := pipes.closeTheirs(); err != nil {
		return result, errors.Join(err, e.Kill(context.WithoutCancel(ctx)))
	}
	stdout, stderr := &limited{limit: MaxExecOutput}, &limited{limit: MaxExecOutput}
	outs := []*output{copyOutput(pipes.stdout.ours, stdout), copyOutput(pipes.stderr.ours, stderr)}
	exit, err := waitOrKill(ctx, e)
	for _, o := range outs {
		err = errors.Join(err, o.finish())
	}
	return ExecResult{Stdout: stdout.data, Stderr: stderr.data, ExitCode: int32(exit.Code)}, err
}

// startExec starts a command beside the first process of a running container, as the user and with the environment of that.
func (m *Manager) startExec(ctx context.Context, id string, cmd []string, stdio [3]*os.File, tty bool) (Exec, error) {
	c, err := m.runningContainer(id)
	if err != nil {
		return nil, err
	}
	p, err := spec.ExecProcess(m.specOf(c), cmd, tty)
	if err != nil {
		return nil, err
	}
	return m.cfg.Runtime.Exec(ctx, c.rec.ID, container.ExecOptions{
		Process: p, Stdin: stdio[0], Stdout: stdio[1], Stderr: stdio[2], Terminal: tty,
	})
}

// specOf returns the spec of a container that runs.
func (m *Manager) specOf(c *containerEntry) *specs.Spec {
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.spec
}

// waitOrKill waits for the end of a process. When ctx is over first, it kills the process with all that came of it.
func waitOrKill(ctx context.Context, e Exec) (client.Exit, error) {
	exit, err := e.Wait(ctx)
	if err == nil || ctx.Err() == nil {
		return exit, err
	}
	killed, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	return exit, errors.Join(fmt.Errorf("the command did not end in time and was killed: %w", ctx.Err()), e.Kill(killed))
}

// killTime is how long a kill may take until a process counts as stuck in the kernel.
const killTime = 10 * time.Second
