package client

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// Attach connects files to the stdio of a process started with Managed stdio; any may be nil, and they may be closed
// after the call. It returns once they are connected. The keeper closes its ends when the process has ended and all its
// output is delivered, or when the other end is closed; it makes the files non-blocking.
//
// A client that reads too slowly never holds up the process or its log: when 1 MiB waits for it, a terminal's client
// misses output, any other is disconnected.
func (c *Client) Attach(ctx context.Context, id string, stdin, stdout, stderr *os.File) error {
	m := wire.Attach{ID: id}
	for i, f := range []*os.File{stdin, stdout, stderr} {
		if f != nil {
			m.Has |= 1 << i
		}
	}
	files, err := borrow(stdin, stdout, stderr)
	if err != nil {
		return err
	}
	return errors.Join(c.simple(ctx, wire.TypeAttach, m.Encode(), files), sys.CloseRaw(files))
}

// Resize sets the size of a process's terminal, in characters. Kind errdefs.ErrFailedPrecondition: it has none.
func (c *Client) Resize(ctx context.Context, id string, width, height uint16) error {
	return c.simple(ctx, wire.TypeResize, (&wire.Resize{ID: id, Width: width, Height: height}).Encode(), nil)
}

// CloseStdin ends the standard input of a process once it has read what is on the way. It is idempotent; a terminal's
// input can't be ended.
func (c *Client) CloseStdin(ctx context.Context, id string) error {
	return c.simple(ctx, wire.TypeCloseStdin, wire.EncodeName(id), nil)
}

// ReopenLog makes the keeper write to the file that is at the log's path now, or to a new one. On error no new file
// exists and the old one is still in use. Kind errdefs.ErrFailedPrecondition: the process has ended.
func (c *Client) ReopenLog(ctx context.Context, id string) error {
	return c.simple(ctx, wire.TypeReopenLog, wire.EncodeName(id), nil)
}

// Forget drops the record of a process that has ended, with its FIFOs and attached clients. It is idempotent. Kind
// errdefs.ErrFailedPrecondition: the process runs.
func (c *Client) Forget(ctx context.Context, id string) error {
	if err := c.simple(ctx, wire.TypeForget, wire.EncodeName(id), nil); err != nil {
		return err
	}
	if h := c.kept(); h != nil {
		return h.Drop(id)
	}
	return nil
}

// List returns all processes that are not forgotten, in no order.
func (c *Client) List(ctx context.Context) ([]Process, error) {
	r, err := c.call(ctx, wire.TypeList, nil, nil)
	if err := errors.Join(err, sys.CloseRaw(r.files)); err != nil {
		return nil, err
	}
	list, err := wire.DecodeProcesses(r.result)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	return list, nil
}

// Master returns a duplicate of the master of a process's terminal, nil if it has none: for a berthd that was restarted, to
// hand it to the next keeper ([Client.Adopt]). The caller owns it. Reading from it would take output from the log.
func (c *Client) Master(ctx context.Context, id string) (*os.File, error) {
	r, err := c.call(ctx, wire.TypeMaster, wire.EncodeName(id), nil)
	if err != nil {
		return nil, errors.Join(err, sys.CloseRaw(r.files))
	}
	if len(r.files) != 1 {
		return nil, sys.CloseRaw(r.files)
	}
	return r.files[0].File("pty master"), nil
}

// Adopt hands a keeper that followed a dead one what it can't get by itself: a pidfd from before, through which the exit of
// a process that is gone can still be learned, and the master of a terminal. Either may be nil; the files stay the
// caller's. It is idempotent. For a process whose end was not known an event follows.
func (c *Client) Adopt(ctx context.Context, id string, pidfd, master *os.File) error {
	m := wire.Adopt{ID: id}
	if pidfd != nil {
		m.Has |= wire.HasStdin
	}
	if master != nil {
		m.Has |= wire.HasMaster
	}
	files, err := borrow(pidfd, master)
	if err != nil {
		return err
	}
	return errors.Join(c.simple(ctx, wire.TypeAdopt, m.Encode(), files), sys.CloseRaw(files))
}
