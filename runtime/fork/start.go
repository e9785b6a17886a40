package fork

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Options is what the launcher decides about a start; the program decides the rest.
type Options struct {
	Flags  uint64      // namespaces to make: CLONE_NEW* of clone3(2), nothing else
	Cgroup *os.File    // folder of a cgroup v2 in which the child begins, or nil (Linux 5.7)
	PIDNS  *os.File    // PID namespace that the child joins, or nil
	Stdio  [3]*os.File // what Builder.Stdio stands for

	// Servers, if set, clone in place of this process where they can.
	Servers *Servers

	// Forked, if set, is called as soon as there is a child, while its program runs. After an error the child is killed.
	Forked func(Child) error

	// Checkpoint is called when the child has reached a checkpoint of its program (see Builder.Checkpoint), and waits.
	// After an error the child is killed. It must be set if the program has any.
	Checkpoint func(Checkpoint) error
}

// Child is a process that was started. The caller owns the descriptor and must wait for the process (waitid).
type Child struct {
	PID   int      // in the caller's PID namespace
	Pidfd *os.File // close-on-exec, blocking
}

// StepError says which call of a program failed, and how.
type StepError struct {
	Step  string
	Errno syscall.Errno
}

func (e *StepError) Error() string { return e.Step + ": " + e.Errno.Error() }

// Unwrap makes errors.Is(err, fs.ErrNotExist) and the like work.
func (e *StepError) Unwrap() error { return e.Errno }

const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID |
	unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// Start runs the program in a child and returns once its execve succeeded. If a call failed the error is a *[StepError] and
// the child is gone. A child that is killed before its execve, but not before the last checkpoint, counts as started: its
// end tells the rest, SIGSEGV for one whose seccomp filter refuses execve, write and exit_group. A program with a
// [Builder.Release] counts as started there.
func Start(p *Program, o Options) (Child, error) {
	if o.Flags&^namespaceFlags != 0 {
		return Child{}, errdefs.Invalid("start process: clone flags %#x are not namespaces", o.Flags&^namespaceFlags)
	}
	if o.Checkpoint == nil && p.needsAnswers() {
		return Child{}, errdefs.Invalid("start process: the program has checkpoints, which this launcher does not serve")
	}
	if o.PIDNS != nil && p.cloneAt() >= 0 {
		return Child{}, errdefs.Invalid("start process: the program makes a second process, whose PID could not be told from another PID namespace")
	}
	return start(p, o)
}

func start(p *Program, o Options) (_ Child, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	r, w, err := os.Pipe()
	if err != nil {
		return Child{}, fmt.Errorf("start process: %w", err)
	}
	cu.Add(r.Close)
	closeWrite := closeOnce(w)
	cu.Add(closeWrite)

	ans, err := p.openAnswers()
	if err != nil {
		return Child{}, err
	}
	cu.Add(ans.close)
	first, err := launch(p, o, pipeEnds{w, ans.child})
	runtime.KeepAlive(p)
	runtime.KeepAlive(o)
	if err != nil {
		return Child{}, err
	}
	if err := errors.Join(closeWrite(), ans.closeChild()); err != nil {
		return Child{}, errors.Join(fmt.Errorf("start process: %w", err), kill(first), first.Pidfd.Close())
	}
	told := &reports{r: r}
	child, err := adopt(p, told, first)
	if err != nil {
		return Child{}, errors.Join(err, first.Pidfd.Close())
	}
	cu.Add(child.Pidfd.Close)
	if o.Forked != nil {
		if err := o.Forked(child); err != nil {
			return Child{}, errors.Join(err, kill(child))
		}
	}
	if err := await(p, o, told, &ans, child); err != nil {
		return Child{}, err
	}
	cu.Release()
	return child, errors.Join(r.Close(), ans.close())
}

// await reads the child's reports until the last: the end without one of a failure means that execve closed the pipe.
func await(p *Program, o Options, r *reports, a *answers, child Child) error {
	ahead := p.checkpoints()
	for {
		rep, more, err := r.next()
		if err == nil && more && int(rep.call) >= len(p.calls) {
			err = errdefs.Bug("execve returned without an error")
		}
		if err == nil && more && rep.kind == reportCheckpoint {
			err = a.reached(p, rep, o, child)
			ahead = ahead[min(1, len(ahead)):]
		}
		if err == nil && !more && len(ahead) > 0 {
			err = errdefs.FailedPrecondition("%s: the process ended before, or may not report it (a seccomp filter without write)", ahead[0])
		}
		switch {
		case err != nil:
			return errors.Join(err, kill(child))
		case !more || rep.kind == reportReleased:
			return nil
		case rep.kind == reportFailed:
			return errors.Join(p.stepError(rep), wait(child))
		}
	}
}

func decodeReport(d [reportBytes]byte) report {
	ne := binary.NativeEndian
	return report{kind: ne.Uint32(d[:]), call: ne.Uint32(d[4:]), value: ne.Uint32(d[8:])}
}

func kill(c Child) error {
	fd, err := rawFD(c.Pidfd)
	if err != nil {
		return err
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill child %d: %w", c.PID, err)
	}
	return wait(c)
}

// wait reaps a child that is about to end.
func wait(c Child) error {
	fd, err := rawFD(c.Pidfd)
	if err != nil {
		return err
	}
	if err := waitPidfd(fd); err != nil {
		return fmt.Errorf("wait for child %d: %w", c.PID, err)
	}
	return nil
}

func waitPidfd(fd int) error {
	for {
		if err := unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED, nil); err != unix.EINTR {
			return err
		}
	}
}
