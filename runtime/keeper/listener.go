package keeper

import (
	"encoding/binary"
	"errors"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// checkpoint serves the one checkpoint that a program of the keeper's may have: its seccomp listener goes to who asked for
// the start, who knows what it is for.
func (st *starting) checkpoint(c fork.Checkpoint) (err error) {
	if c.Tag != fork.TagListener || st.listener == sys.NoFile {
		return errdefs.Invalid("the program of %s waits for something that the keeper does not do (checkpoint %d)", st.ID, c.Tag)
	}
	listener, err := c.File("seccomp listener")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	return sys.SendFilePacket(st.listener, binary.LittleEndian.AppendUint32(nil, uint32(c.Child.PID)), listener)
}
