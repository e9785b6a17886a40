package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Exec runs a command in a running container with the client's streams, and returns its exit code. A command whose client
// goes away (ctx) loses its streams, and a terminal hangs up on it; it is not killed, as with other runtimes: a connection
// through an API server may break at any time, and what was asked for may be half done.
func (m *Manager) Exec(ctx context.Context, id string, s ExecStream) (exit int32, err error) {
	if s.TTY && s.Stderr != nil {
		return 0, errdefs.Invalid("exec in container %s: a terminal has no stderr of its own", id)
	}
	run := m.execPipes
	if s.TTY {
		run = m.execTerminal
	}
	if exit, err = run(ctx, id, s); err != nil {
		return exit, fmt.Errorf("exec in container %s: %w", id, err)
	}
	return exit, nil
}

func (m *Manager) execPipes(ctx context.Context, id string, s ExecStream) (exit int32, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()

	p, err := openPipes(s.Stdin != nil, s.Stdout != nil, s.Stderr != nil)
	cu.Add(p.close)
	if err != nil {
		return 0, err
	}
	e, err := m.startExec(ctx, id, s.Cmd, p.theirs(), false)
	if err != nil {
		return 0, err
	}
	cu.Add(e.Close)
	if err := p.closeTheirs(); err != nil {
		return 0, err
	}
	copyInput(p.stdin.ours, s.Stdin)
	p.stdin.ours = nil // copyInput's now
	var outs []*output
	if s.Stdout != nil {
		outs = append(outs, copyOutput(p.stdout.ours, s.Stdout))
	}
	if s.Stderr != nil {
		outs = append(outs, copyOutput(p.stderr.ours, s.Stderr))
	}
	return awaitExec(ctx, e, outs)
}

func (m *Manager) execTerminal(ctx context.Context, id string, s ExecStream) (exit int32, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()

	e, err := m.startExec(ctx, id, s.Cmd, [3]*os.File{}, true)
	if err != nil {
		return 0, err
	}
	cu.Add(e.Close)
	master, err := pollable(e.Master())
	if err != nil {
		return 0, err
	}
	cu.Add(master.Close)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go resize(ctx, s.Resize, e.Resize)
	if s.Stdin != nil {
		go typeInput(master, s.Stdin)
	}
	out := io.Writer(io.Discard)
	if s.Stdout != nil {
		out = s.Stdout
	}
	return awaitExec(ctx, e, []*output{copyOutput(master, out)})
}

// awaitExec waits for the end of the process and for the last of its output.
func awaitExec(ctx context.Context, e Exec, outs []*output) (int32, error) {
	exit, err := e.Wait(ctx)
	for _, o := range outs {
		err = errors.Join(err, o.finish())
	}
	return int32(exit.Code), err
}

// copyInput hands what a client types to a process and closes the process's stdin at its end. It owns to.
func copyInput(to *os.File, from io.Reader) {
	if to == nil {
		return
	}
	go func() {
		// Either end may go at any time; the process sees the end of its input, and there is nobody else to tell.
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}()
}

// endOfTransmission is what Ctrl-D sends: the end of input, to a terminal in its usual mode.
const endOfTransmission = 4

// typeInput does the same for a terminal, which has no end to close.
func typeInput(to *os.File, from io.Reader) {
	if _, err := io.Copy(to, from); err == nil {
		_, _ = to.Write([]byte{endOfTransmission})
	}
}

// resize applies the sizes of a client's terminal until there are no more.
func resize(ctx context.Context, sizes <-chan Size, apply func(width, height uint16) error) {
	for {
		select {
		case <-ctx.Done():
			return
		case size, ok := <-sizes:
			if !ok {
				return
			}
			// Of a terminal that is gone the size does not matter.
			_ = apply(size.Width, size.Height)
		}
	}
}
