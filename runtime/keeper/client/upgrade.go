package client

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// PID returns the keeper's process, which a connection outlives only to say that it is lost.
func (c *Client) PID() (int, error) { return c.conn.PeerPID() }

// Upgrade makes the keeper at socket become the program in an open file (see [OpenProgram]), and returns when that serves: with all
// processes, connections and attached clients of before. It works whatever version of the protocol the two speak. After an
// error the keeper that was there goes on; only if the kind is errdefs.ErrUnavailable that is not certain. Kinds:
// errdefs.ErrFailedPrecondition if the program can't take over, or another one is about to.
func Upgrade(ctx context.Context, socket string, program *os.File) (err error) {
	c, err := connect(ctx, socket)
	if err != nil {
		return err
	}
	files, err := borrow(program)
	if err == nil {
		err = errors.Join(c.simple(ctx, wire.TypeUpgrade, nil, files), sys.CloseRaw(files))
	}
	if err := errors.Join(err, c.Close()); err != nil {
		return fmt.Errorf("upgrade the keeper on %s: %w", socket, err)
	}
	return nil
}

// OpenProgram opens a keeper's binary through a read-only mount that is attached nowhere. A container's first process is a copy
// of the keeper until its execve, and what its image says to execute may be that copy's own /proc/self/exe: it could then
// open the binary, but not for writing (CVE-2019-5736).
func OpenProgram(path string) (*os.File, error) { return sys.OpenSealed(path) }
