package container

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/prepare"
)

// execMark is in the keeper's ID of every exec, behind the container's, and in no container's.
const execMark = ".exec."

// Exec is a process started in a container. It has a control group of its own, below the container's, without limits, in
// the hierarchy that killing works with: so all that it started can be found again.
type Exec struct {
	PID int

	runtime *Runtime
	id      string
	group   *cgroup.Group
	pidfd   *os.File // set before anyone else sees the Exec
	master  *os.File
	exited  chan struct{}

	mu        sync.Mutex
	exit      client.Exit
	over      bool // exit is set
	abandoned bool // closed before its end: the end cleans up
}

// Exec starts a process in a running container and returns when its execve has succeeded. The caller must Close the
// result. ErrFailedPrecondition if the container does not run (any more); a step that failed in the child is a
// *fork.StepError in the chain.
func (r *Runtime) Exec(ctx context.Context, id string, o ExecOptions) (_ *Exec, err error) {
	c, err := r.find(id)
	if err != nil {
		return nil, err
	}
	if err := checkExec(o); err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", id, err)
	}
	pid, pidfd, err := c.running()
	if err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", id, err)
	}
	p, err := r.planExec(ctx, c, pid, pidfd, o)
	if err != nil {
		return nil, c.execError(ctx, err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	key := rand.Text()[:16]
	e := &Exec{runtime: r, id: id + execMark + key, exited: make(chan struct{})}
	if e.group, err = c.group.Sub(ctx, "exec-"+key); err != nil {
		return nil, c.execError(ctx, err)
	}
	cu.Add(func() error { return e.group.Remove(context.WithoutCancel(ctx)) })
	cu.Add(e.closeFiles)
	if err := r.startExec(ctx, c, e, pidfd, p, o); err != nil {
		return nil, c.execError(ctx, err)
	}
	cu.Release()
	return e, nil
}

// execError says so if the reason for an error is that the container has ended.
func (c *container) execError(ctx context.Context, err error) error {
	err = fmt.Errorf("exec in container %s: %w", c.id, err)
	if c.ending(ctx, err) {
		return errdefs.FailedPrecondition("container %s has ended: %w", c.id, err)
	}
	return err
}

// endTime is how long the first process of a PID namespace may take from its death, when the namespace takes no new
// processes any more, until it counts as ended: it waits for all others to be gone (pid_namespaces(7)).
const endTime = time.Second

func (c *container) ending(ctx context.Context, err error) bool {
	_, pidfd, gone := c.running()
	if gone != nil || sys.PidfdSignal(pidfd, 0) != nil || errors.Is(err, syscall.ESRCH) {
		return true
	}
	if !errors.Is(err, syscall.ENOMEM) { // what clone says to a namespace without its first process, and of memory
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	return sys.AwaitPidfd(ctx, pidfd) == nil
}

func checkExec(o ExecOptions) error {
	switch {
	case o.Process == nil:
		return errdefs.Invalid("process: missing")
	case o.Terminal != o.Process.Terminal:
		return errdefs.Invalid("process.terminal: %t, but exec was asked for with %t", o.Process.Terminal, o.Terminal)
	case o.Terminal && (o.Stdin != nil || o.Stdout != nil || o.Stderr != nil):
		return errdefs.Invalid("stdio is given together with a terminal")
	}
	return nil
}

func (r *Runtime) planExec(ctx context.Context, c *container, pid int, pidfd *os.File, o ExecOptions) (*plan.Exec, error) {
	facts := r.facts
	var err error
	if facts.Target, err = prepare.Target(pid); err != nil {
		return nil, err
	}
	if err := sys.PidfdSignal(pidfd, 0); err != nil { // the number was its own when the kernel was asked
		return nil, err
	}
	if facts.Seccomp, err = r.filters.Compile(c.profile()); err != nil {
		return nil, err
	}
	facts.Inherited = c.inherited
	p, err := plan.NewExec(o.Process, facts)
	if err != nil {
		return nil, err
	}
	for _, w := range p.Warnings { // most are the container's too, and were a warning at its creation: probes run every few seconds
		r.cfg.Logger.DebugContext(ctx, "exec differs from what was asked", "container", c.id, "difference", w)
	}
	return p, nil
}

// startExec opens what the process needs and starts it.
func (r *Runtime) startExec(ctx context.Context, c *container, e *Exec, pidfd *os.File, p *plan.Exec, o ExecOptions) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean() // all that is made here is for the start alone
	stdio := [3]*os.File{o.Stdin, o.Stdout, o.Stderr}
	if o.Terminal {
		slave, err := c.terminal(e, p, o)
		if err != nil {
			return err
		}
		cu.Add(slave.Close)
		stdio = [3]*os.File{slave, slave, slave}
	}
	program, dir, err := c.execFiles(e.group, p, pidfd, r.proc)
	if err != nil {
		return err
	}
	cu.Add(program.Close)
	if dir != nil {
		cu.Add(dir.Close)
	}
	return r.launchExec(ctx, c, e, client.StartRequest{ID: e.id, Program: program, PIDNS: pidfd, Cgroup: dir, Stdio: client.Stdio{Files: stdio}})
}

// terminal makes a terminal in the container; the Exec keeps its master.
func (c *container) terminal(e *Exec, p *plan.Exec, o ExecOptions) (slave *os.File, err error) {
	root, err := c.openRoot()
	if err != nil {
		return nil, err
	}
	uid, _ := prepare.HostIDs(p.Target.User, p.Process.UID, p.Process.GID)
	t, err := prepare.OpenTerminal(root, o.Process, uid)
	e.master = t.Master
	return t.Slave, errors.Join(err, root.Close())
}

// execFiles opens what the process joins the group with, and writes the program.
func (c *container) execFiles(group *cgroup.Group, p *plan.Exec, pidfd, proc *os.File) (_ *fork.Program, dir *os.File, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	var files plan.Files
	if dir, files.Tasks, err = prepare.Join(group, c.share, len(p.Affinity.Initial) > 0); err != nil {
		return nil, nil, err
	}
	if dir != nil {
		cu.Add(dir.Close)
	}
	target, err := sys.Dup(pidfd)
	if err != nil {
		return nil, nil, errors.Join(err, files.Close())
	}
	if p.Proc, err = sys.Dup(proc); err != nil {
		return nil, nil, errors.Join(err, files.Close(), target.Close())
	}
	program, err := p.Program(target, files.Tasks)
	if err != nil {
		return nil, nil, err
	}
	cu.Release()
	return program, dir, nil
}

// launchExec starts the process. The Exec is in the map before, as its end may overtake the answer; handing its pidfd to a
// new keeper waits until there is one.
func (r *Runtime) launchExec(ctx context.Context, c *container, e *Exec, req client.StartRequest) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return errdefs.Unavailable("the runtime is closed")
	}
	r.execs[e.id] = e
	r.mu.Unlock()
	started, err := r.startProcess(ctx, c, req, specs.StateRunning)
	if err == nil {
		r.mu.Lock()
		e.PID, e.pidfd = started.PID, started.Pidfd
		r.mu.Unlock()
		return nil
	}
	r.mu.Lock()
	delete(r.execs, e.id)
	r.mu.Unlock()
	if errors.Is(err, errdefs.ErrUnavailable) || ctx.Err() != nil { // it may run all the same
		kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		err = errors.Join(err, e.group.Kill(kill))
	}
	return err
}
