package oci

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// Child is a process in a container that this process has started and must wait for, or leave to its own parent by
// ending.
type Child struct {
	child   fork.Child
	master  *os.File       // of its terminal, if nobody else has it
	signals chan os.Signal // for it, since before it was started; nil: it is not waited for
}

// Close closes the files. The process runs on.
func (c *Child) Close() error { return errors.Join(c.child.Pidfd.Close(), c.closeMaster()) }

func (c *Child) closeMaster() error {
	if c.master == nil {
		return nil
	}
	m := c.master
	c.master = nil
	return m.Close()
}

// Wait waits for the end and returns the exit code, 128 and its number for a signal. Signals that this process gets
// meanwhile are passed on, and SIGHUP, SIGINT, SIGQUIT and SIGTERM that it got since the start began; those after that do
// nothing. With a terminal, this process's own one is connected to it. A process that was started detached can't be waited for.
func (c *Child) Wait(ctx context.Context, stdin, stdout *os.File) (code int, err error) {
	if c.signals == nil {
		return 0, errdefs.Bug("wait for a detached process")
	}
	if err := catchOthers(c.signals); err != nil {
		return 0, errors.Join(err, killChild(context.WithoutCancel(ctx), c.child))
	}
	var t *terminal
	if c.master != nil {
		if t, err = connect(c.master, stdin, stdout); err != nil {
			return 0, errors.Join(err, killChild(context.WithoutCancel(ctx), c.child))
		}
	}
	type result struct {
		exit sys.ChildExit
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		exit, err := waitChild(ctx, c.child)
		ended <- result{exit, err}
	}()
	for {
		select {
		case r := <-ended:
			return exitCode(r.exit), errors.Join(r.err, t.close())
		case s := <-c.signals:
			c.forward(s, t)
		}
	}
}

// forward passes a signal on. Those that are about this process are not: its children, its scheduler (SIGURG is the Go
// runtime's own), broken pipes.
func (c *Child) forward(s os.Signal, t *terminal) {
	switch s {
	case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE:
	case syscall.SIGWINCH:
		t.resize()
	default:
		if n, ok := s.(syscall.Signal); ok {
			// ESRCH: it has ended, which is waited for.
			_ = sys.PidfdSignal(c.child.Pidfd, n)
		}
	}
}
