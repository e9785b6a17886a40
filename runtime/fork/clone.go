package fork

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Clone lets the program go on in another process, with the given new namespaces (CLONE_NEW*), that is the launcher's
// child as well (CLONE_PARENT); the process that made it ends. It is how a program gets PID and time namespaces that
// belong to a user namespace that it has joined: they only take in new processes. At most one is allowed, and it can't be
// used together with Options.PIDNS.
func (b *Builder) Clone(step string, flags uint64) *Call {
	return b.Call(step, unix.SYS_CLONE3, Imm(flags))
}

// isClone tells whether a call is as Builder.Clone writes it. The structure that the kernel gets is the launcher's.
func (c *call) isClone() bool {
	return c.nargs == 1 && c.args[0].kind == argImm && c.args[0].val&^namespaceFlags == 0 && len(c.ignore) == 0
}

// cloneAt returns the index of Builder.Clone's call, or -1.
func (p *Program) cloneAt() int {
	for i := range p.calls {
		if p.calls[i].nr == sysClone3 {
			return i
		}
	}
	return -1
}

func (p *Program) cloneFlags() uint64 {
	if i := p.cloneAt(); i >= 0 {
		return p.calls[i].args[0].val
	}
	return 0
}

// adopt returns the process that a program goes on in: the first child, or the one that it makes and tells of. The first
// is reaped then. If that was killed before it could tell, its end tells the rest.
func adopt(p *Program, r *reports, first Child) (Child, error) {
	at := p.cloneAt()
	if at < 0 {
		return first, nil
	}
	pid, err := r.awaitClone(at)
	if err != nil {
		return Child{}, errors.Join(err, kill(first))
	}
	if pid == 0 {
		return first, nil
	}
	if err := wait(first); err != nil {
		return Child{}, errors.Join(err, killPID(pid))
	}
	// Nobody but us can reap it, so the number is still its own.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return Child{}, errors.Join(fmt.Errorf("open pidfd of child %d: %w", pid, err), killPID(pid))
	}
	return Child{PID: pid, Pidfd: os.NewFile(uintptr(fd), "pidfd")}, first.Pidfd.Close()
}

// awaitClone reads reports until one tells of the second child. It returns 0 if there will be none: the first failed
// before, or was killed. The second may fail before the first has told of it.
func (r *reports) awaitClone(at int) (pid int, err error) {
	for {
		rep, ok, err := r.read()
		switch {
		case err != nil || !ok:
			return 0, err
		case rep.kind == reportCloned:
			return int(rep.value), nil
		case int(rep.call) <= at:
			r.held = &rep
			return 0, nil
		}
		r.held = &rep
	}
}

func killPID(pid int) error {
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill child %d: %w", pid, err)
	}
	for {
		_, err := unix.Wait4(pid, nil, 0, nil)
		switch err {
		case nil, unix.ECHILD:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("wait for child %d: %w", pid, err)
		}
	}
}

// reports are what children have written to the pipe.
type reports struct {
	r    *os.File
	held *report // that was read already
}

// read returns the next report; ok is false at the end: nobody who could write one is left.
func (r *reports) read() (rep report, ok bool, err error) {
	var d [reportBytes]byte
	n, err := r.r.Read(d[:])
	if n == 0 && (err == nil || err == io.EOF) {
		return report{}, false, nil
	}
	if n != reportBytes {
		return report{}, false, errdefs.Bug("report of %d bytes from a child: %w", n, err)
	}
	return decodeReport(d), true, nil
}

// next returns the report that was held, or reads one.
func (r *reports) next() (rep report, ok bool, err error) {
	if r.held != nil {
		rep, r.held = *r.held, nil
		return rep, true, nil
	}
	return r.read()
}

// stepError words a report of a failure.
func (p *Program) stepError(rep report) error {
	return &StepError{p.calls[rep.call].step, syscall.Errno(rep.value)}
}
