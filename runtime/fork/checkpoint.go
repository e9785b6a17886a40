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

// Tag tells a launcher which checkpoint a child has reached.
type Tag uint32

// Checkpoint is a point that a child has reached and waits at.
type Checkpoint struct {
	Tag   Tag
	Value uint32 // of the argument given to Builder.Checkpoint: a number, a descriptor of the child's
	Child Child  // still the launcher's
}

// Checkpoint lets the child tell the launcher that it has come this far, with a value such as the result of an earlier
// call, and wait until [Options.Checkpoint] has returned. A child whose launcher is gone ends there.
func (b *Builder) Checkpoint(step string, tag Tag, value Arg) {
	b.Call(step, opCheckpoint, Imm(uint64(tag)), value)
}

// Release lets [Start] return here: what follows no longer concerns the launcher, which may end. A call that fails later
// is reported to the given file, from which [AwaitReleased] reads it. A child whose launcher is gone already ends here.
func (b *Builder) Release(step string, to Arg) { b.Call(step, opRelease, to, Imm(0)) }

// needsAnswers tells whether there is a checkpoint.
func (p *Program) needsAnswers() bool { return len(p.checkpoints()) > 0 }

// checkpoints returns their steps, in order.
func (p *Program) checkpoints() []string {
	var steps []string
	for i := range p.calls {
		if p.calls[i].nr == opCheckpoint {
			steps = append(steps, p.calls[i].step)
		}
	}
	return steps
}

// answers is the pipe on which the child is told to go on.
type answers struct{ child, launcher *os.File }

// openAnswers makes the pipe if the program needs it. Both ends block: the child has no poller.
func (p *Program) openAnswers() (a answers, err error) {
	if !p.needsAnswers() {
		return a, nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return a, fmt.Errorf("start process: %w", err)
	}
	return answers{os.NewFile(uintptr(fds[0]), "answers"), os.NewFile(uintptr(fds[1]), "answers")}, nil
}

// closeChild closes the end that is the child's by now.
func (a *answers) closeChild() error {
	f := a.child
	a.child = nil
	return closeSome(f)
}

func (a *answers) close() error {
	f := a.launcher
	a.launcher = nil
	return errors.Join(a.closeChild(), closeSome(f))
}

func closeSome(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// reached lets the launcher do its part and then the child go on.
func (a *answers) reached(p *Program, rep report, o Options, child Child) error {
	c := &p.calls[rep.call]
	if err := o.Checkpoint(Checkpoint{Tag(c.args[0].val), rep.value, child}); err != nil {
		return fmt.Errorf("%s: %w", c.step, err)
	}
	_, err := a.launcher.Write([]byte{1})
	if err != nil && !errors.Is(err, syscall.EPIPE) { // it was killed: its end tells the rest
		return fmt.Errorf("%s: let process %d go on: %w", c.step, child.PID, err)
	}
	return nil
}

// AwaitReleased reads what a child that passed [Builder.Release] writes to its file: it returns nil once the execve has
// succeeded, or the child was killed, and a *[StepError] if a call failed. No other process may hold the file for writing.
func AwaitReleased(r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, int64(reportBytes)+maxStep+1))
	if err != nil {
		return fmt.Errorf("read what the process tells: %w", err)
	}
	if len(data) == 0 {
		return nil
	}
	if len(data) < reportBytes || len(data) > reportBytes+maxStep {
		return errdefs.Bug("report of %d bytes from a released process", len(data))
	}
	rep := decodeReport([reportBytes]byte(data))
	if rep.kind != reportFailed || rep.value == 0 || rep.value > maxErrno {
		return errdefs.Bug("report of kind %d, errno %d from a released process", rep.kind, rep.value)
	}
	return &StepError{string(data[reportBytes:]), syscall.Errno(rep.value)}
}
