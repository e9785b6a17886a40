package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/handover"
)

// tryLimit is how long a program may take to say that it can take over.
const tryLimit = 10 * time.Second

// try runs the program beside this one and asks whether it can take over. What can't, or is no program at all, is found
// out while there is a way back.
func (s *server) try(binary *os.File) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	empty, err := (&handover.State{Lock: sys.NoFile, Listener: sys.NoFile}).Encode()
	if err != nil {
		return err
	}
	memory, err := sys.SealedMemory("keeper-state", empty)
	if err != nil {
		return fmt.Errorf("try the program to become: %w", err)
	}
	state := memory.File("state")
	cu.Add(state.Close)
	if _, err := state.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("try the program to become: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("try the program to become: %w", err)
	}
	cu.Add(r.Close)
	child, err := s.startTrial(binary, state, w)
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("try the program to become: %w", err)
	}
	cu.Add(func() error { return endTrial(child) })
	if err := r.SetReadDeadline(time.Now().Add(tryLimit)); err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(r, int64(len(handover.Answer)+1)))
	if err != nil {
		return errdefs.FailedPrecondition("the program does not say whether it can take over from this keeper: %w", err)
	}
	if string(answer) != handover.Answer {
		return errdefs.FailedPrecondition("the program can't take over from this keeper: it says %q", strings.TrimSpace(string(answer)))
	}
	return nil
}

func (s *server) startTrial(binary, state, answer *os.File) (_ fork.Child, err error) {
	dup, err := sys.Dup(binary)
	if err != nil {
		return fork.Child{}, err
	}
	b := fork.NewBuilder()
	program := b.File(dup) // the builder's from here on
	for i := range 3 {
		b.Call("set up stdio", sys.NrDup3, b.Stdio(i), fork.Int(i), fork.Imm(0))
	}
	argv := b.Argv(append(slices.Clone(s.args), tryFlag))
	b.Call("execute it", sys.NrExecveat, program, b.Str(""), argv, b.Argv(os.Environ()), fork.Imm(sys.AtEmptyPath))
	p, err := b.Program()
	if err != nil {
		return fork.Child{}, errors.Join(err, b.Close())
	}
	child, err := fork.Start(p, fork.Options{Stdio: [3]*os.File{state, answer, s.null}})
	return child, errors.Join(err, p.Close())
}

// endTrial ends the child, if it has not, and reaps it.
func endTrial(child fork.Child) error {
	errs := []error{sys.PidfdSignal(child.Pidfd, syscall.SIGKILL)}
	if errors.Is(errs[0], syscall.ESRCH) {
		errs = nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), tryLimit)
	defer cancel()
	errs = append(errs, sys.AwaitPidfd(ctx, child.Pidfd))
	raw, err := sys.RawDup(child.Pidfd)
	if err == nil {
		_, _, err = sys.ReapPidfd(raw)
		err = errors.Join(err, raw.Close())
	}
	return errors.Join(append(errs, err, child.Pidfd.Close())...)
}

// Try is what a program does that is asked whether it can take over: it reads a state from in and answers.
func Try(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(io.LimitReader(in, handover.MaxBytes))
	if err != nil {
		return fmt.Errorf("read a keeper's state: %w", err)
	}
	if _, err := handover.Decode(data); err != nil {
		return err
	}
	_, err = io.WriteString(out, handover.Answer)
	return err
}
