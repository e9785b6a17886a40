package sys

import (
	"context"
	"errors"
	"os"
)

// AwaitPidfd returns when the process behind a pidfd has ended, or with the context's error.
func AwaitPidfd(ctx context.Context, pidfd *os.File) (err error) {
	w, err := NewWaiter()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.AddReadable(pidfd); err != nil {
		return err
	}
	return w.Wait(ctx)
}

// PidfdExitFile is [PidfdExit] for an *os.File.
func PidfdExitFile(pidfd *os.File) (exit ChildExit, ok bool) {
	// A closed file has nothing to tell.
	_ = withFd(pidfd, func(fd int) error {
		exit, ok = PidfdExit(Raw(fd))
		return nil
	})
	return exit, ok
}
