package client

import (
	"context"
	"errors"
	"os"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// Start starts a process and returns when its execve has succeeded. A step of the program that failed is a *fork.StepError.
// Other kinds: errdefs.ErrExists (the ID is in use), ErrInvalid, ErrUnavailable (whether it runs is not known: ask the
// successor). If ctx ends before the answer comes, the process may be started all the same: List tells.
func (c *Client) Start(ctx context.Context, r StartRequest) (_ Started, err error) {
	if r.Program == nil {
		return Started{}, errdefs.Invalid("start %s: no program", r.ID)
	}
	program, programFiles := r.Program.Marshal()
	m := wire.Start{ID: r.ID, Flags: r.Flags, Program: program}
	own := []*os.File{r.PIDNS, r.Cgroup, r.Stdio.Files[0], r.Stdio.Files[1], r.Stdio.Files[2], nil, nil, r.Listener}
	if s := r.Stdio.Managed; s != nil {
		if r.Stdio.Files != [3]*os.File{} {
			return Started{}, errdefs.Invalid("start %s: both managed stdio and files", r.ID)
		}
		m.Managed, m.Dir, m.LogPath = true, s.Dir, s.LogPath
		m.Stdin, m.Once, m.UID, m.GID = s.Stdin, s.StdinOnce, s.UID, s.GID
		own[5], own[6] = s.Master, s.Slave
		copy(own[2:5], s.Client[:])
	}
	for i, bit := range []uint8{wire.HasPIDNS, wire.HasCgroup, wire.HasStdin, wire.HasStdout, wire.HasStderr, wire.HasMaster, wire.HasSlave, wire.HasListener} {
		if own[i] != nil {
			m.Has |= bit
		}
	}
	files, err := borrow(append(own, programFiles...)...)
	if err != nil {
		return Started{}, err
	}
	rep, err := c.call(ctx, wire.TypeStart, m.Encode(), files)
	if err := errors.Join(err, sys.CloseRaw(files)); err != nil {
		return Started{}, errors.Join(err, sys.CloseRaw(rep.files))
	}
	started, err := wire.DecodeStarted(rep.result)
	if err == nil && len(rep.files) != 1 {
		err = errdefs.Invalid("the keeper sent %d files for process %s", len(rep.files), r.ID)
	}
	if err != nil {
		return Started{}, errors.Join(err, sys.CloseRaw(rep.files))
	}
	if h := c.kept(); h != nil && m.Managed && m.Has&wire.HasMaster == 0 {
		if err := h.Add(r.ID, m.Dir); err != nil {
			return Started{}, errors.Join(err, sys.CloseRaw(rep.files))
		}
	}
	return Started{PID: started.PID, Pidfd: rep.files[0].File("pidfd"), StartTime: started.StartTime, At: started.At}, nil
}
