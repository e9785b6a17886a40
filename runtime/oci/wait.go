package oci

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// waitChild waits for a child's end and reaps it.
func waitChild(ctx context.Context, c fork.Child) (sys.ChildExit, error) {
	if ctx.Done() == nil { // the thread may wait in the kernel, which saves two rounds through epoll
		exit, err := sys.WaitPidfdFile(c.Pidfd)
		if err != nil {
			err = fmt.Errorf("wait for process %d: %w", c.PID, err)
		}
		return exit, err
	}
	if err := sys.AwaitPidfd(ctx, c.Pidfd); err != nil {
		return sys.ChildExit{}, fmt.Errorf("wait for process %d: %w", c.PID, err)
	}
	exit, _, err := sys.ReapPidfdFile(c.Pidfd)
	if err != nil {
		return exit, fmt.Errorf("wait for process %d: %w", c.PID, err)
	}
	return exit, nil
}

func killChild(ctx context.Context, c fork.Child) error {
	if err := sys.PidfdSignal(c.Pidfd, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	_, err := waitChild(ctx, c)
	return err
}

// exitCode is how a shell tells of an end: the status, or 128 and the signal.
func exitCode(e sys.ChildExit) int {
	if e.Signal != 0 {
		return 128 + int(e.Signal)
	}
	return e.Status
}
