package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/handover"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

const (
	// freezeLimit is how long requests, logs on a slow disk and clients may hold an upgrade up before it is given up.
	freezeLimit = 5 * time.Second

	resumeFlag = "--resume"
	tryFlag    = "--try"
)

// upgrade handles the request to become another program. If that works, its reply is the new program's.
func (c *conn) upgrade(m wire.Message) {
	err := c.server.upgrade(c, m)
	c.server.upgrading.Store(false)
	c.server.logger.Error("not upgraded: this keeper goes on", "error", err)
	c.reply(m.Number, func() ([]byte, []sys.Raw, error) { return nil, nil, err })
}

func (s *server) upgrade(c *conn, m wire.Message) (err error) {
	if len(s.args) == 0 {
		return errors.Join(errdefs.NotSupported("upgrade: this keeper does not know its command line"), sys.CloseRaw(m.Files))
	}
	if len(m.Files) != 1 || m.Number == 0 {
		return errors.Join(errdefs.Invalid("upgrade with %d files and number %d", len(m.Files), m.Number), sys.CloseRaw(m.Files))
	}
	binary := m.Files[0].File("program to become")
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(binary.Close)
	if err := s.try(binary); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), freezeLimit)
	defer cancel()
	f, stdio, err := s.freeze(ctx)
	if err != nil {
		return fmt.Errorf("stand still for an upgrade: %w", err)
	}
	cu.Add(f.thaw)
	c.setOwed(m.Number)
	cu.Add(func() error { c.setOwed(0); return nil })
	state, err := f.state(stdio)
	if err != nil {
		return fmt.Errorf("take the state for an upgrade: %w", err)
	}
	return s.become(binary, state)
}

// become turns the process into the program. It returns only an error.
func (s *server) become(binary *os.File, state *handover.State) (err error) {
	data, err := state.Encode()
	if err != nil {
		return err
	}
	memory, err := sys.SealedMemory("keeper-state", data)
	if err != nil {
		return fmt.Errorf("write the state for an upgrade: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(memory.Close)
	for _, file := range append(state.Files(), memory) {
		cu.Add(func() error { return file.SetCloseOnExec(true) })
		if err := file.SetCloseOnExec(false); err != nil {
			return fmt.Errorf("keep file %d through an upgrade: %w", file, err)
		}
	}
	if err := s.forks.Close(); err != nil { // its own way to fork is the next program's business
		return fmt.Errorf("end the processes that fork: %w", err)
	}
	s.logger.Info("keeper becomes another program", "processes", len(state.Processes), "connections", len(state.Conns))
	err = sys.ExecFile(binary, append(slices.Clone(s.args), resumeFlag, strconv.Itoa(int(memory))), os.Environ())
	return fmt.Errorf("execute the program to become: %w", err)
}

func (c *conn) setOwed(number uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed = number
}

// state is what a successor needs of a connection that stands still; ok is false if it has ended.
func (c *conn) state() (_ handover.Conn, ok bool) {
	select {
	case <-c.done:
		return handover.Conn{}, false
	default:
	}
	number, err := c.conn.Number()
	if err != nil { // closed, and nobody has noticed
		return handover.Conn{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := handover.Conn{Socket: number, Owed: c.owed}
	for _, m := range c.events {
		h.Events = append(h.Events, handover.Event{Type: m.Type, Payload: m.Payload})
	}
	for number, files := range c.conn.Partial() {
		h.Partial = append(h.Partial, handover.Partial{Number: number, Files: files, Lost: c.conn.Lost(number)})
	}
	return h, true
}
