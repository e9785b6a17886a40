package autoremove

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// HoldName is the FIFO in a pod's log folder that a client keeps open for writing while it wants the pod to stay.
const HoldName = "client"

// awaitClient returns when nobody has the FIFO at path open for writing. None at all, or something else, waits for nobody.
func awaitClient(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeNamedPipe {
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		_ = f.SetReadDeadline(time.Unix(1, 0)) // wakes the read; a file that is closed needs no waking
	})
	defer stop()
	if _, err := io.Copy(io.Discard, f); err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("wait for the writers of %s: %w", path, err))
	}
	return nil
}
