package keeper

import (
	"errors"
	"fmt"
	"slices"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/fdstore"
	"github.com/berth-runtime/berth/runtime/keeper/handover"
	"github.com/berth-runtime/berth/runtime/keeper/journal"
	"github.com/berth-runtime/berth/runtime/keeper/stdio"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// inherit reads the state that this process wrote when it was another program. Files that came along and are not in it are
// closed. If it can't be read there is none: all that is left is what a killed keeper leaves.
func inherit(cfg Config) (*handover.State, error) {
	files, err := sys.Inherited(firstInherited)
	if err != nil {
		return nil, fmt.Errorf("look for inherited files: %w", err)
	}
	memory := sys.Raw(cfg.Resume)
	state, err := readState(memory, files)
	if err != nil {
		cfg.Logger.Error("the state of the keeper before is lost: this one goes on as after its death", "error", err)
		return nil, sys.CloseRaw(files)
	}
	kept := state.Files()
	files = slices.DeleteFunc(files, func(f sys.Raw) bool { return slices.Contains(kept, f) })
	return state, sys.CloseRaw(files)
}

const firstInherited = 3

func readState(memory sys.Raw, inherited []sys.Raw) (*handover.State, error) {
	if !slices.Contains(inherited, memory) {
		return nil, errdefs.Invalid("file %d with the keeper's state is not open", memory)
	}
	size, err := memory.Size()
	if err == nil && size > handover.MaxBytes {
		err = errdefs.Invalid("it has %d bytes", size)
	}
	if err != nil {
		return nil, fmt.Errorf("look at the keeper's state: %w", err)
	}
	data, err := sys.ReadSealedMemory(memory, int(size))
	if err != nil {
		return nil, fmt.Errorf("read the keeper's state: %w", err)
	}
	state, err := handover.Decode(data)
	if err != nil {
		return nil, err
	}
	for _, f := range state.Files() {
		if _, there := slices.BinarySearch(inherited, f); !there || f == memory {
			return nil, errdefs.Invalid("file %d of the keeper's state is not open", f)
		}
	}
	if state.Lock == sys.NoFile || state.Listener == sys.NoFile {
		return nil, errdefs.Invalid("the keeper's state is without its lock or its socket")
	}
	return state, nil
}

// continueOrTakeOver goes on with the processes of the journal: those in the state of before without a break, the others as after the
// death of a keeper, with what the service manager has kept of them.
func (s *server) continueOrTakeOver(states []*journal.State, before *handover.State, back []fdstore.Received) {
	k, rest := sortKept(back)
	handed := make(map[uint64]handover.Process)
	if before != nil {
		if err := s.continueConns(before); err != nil {
			s.logger.Error("connections of the keeper before do not all go on", "error", err)
		}
		for _, p := range before.Processes {
			handed[p.Seq] = p
		}
	}
	for _, st := range states {
		h, ok := handed[st.Start.Seq]
		delete(handed, st.Start.Seq)
		if ok {
			s.continueProcess(st, h)
			continue
		}
		s.takeOver(st, k)
	}
	if err := s.dropKept(k, rest); err != nil {
		s.logger.Error("files that the service manager has kept are not closed", "error", err)
	}
	for _, p := range handed {
		s.logger.Error("a process of the keeper before is not in the journal and is not served any more",
			"number", p.Seq, "error", sys.CloseRaw(p.Files()))
	}
}

// continueProcess goes on with a process of the program that this one was before.
func (s *server) continueProcess(st *journal.State, h handover.Process) {
	p := &process{record: st.Start, pidfd: h.Pidfd, started: true, exited: h.Exited, exit: h.Exit, told: h.Told}
	s.processes[st.Start.ID] = p
	if h.Stdio != nil {
		p.stdio = s.continueStdio(&p.record, h.Stdio)
	}
	if p.exited {
		if !p.told {
			s.completeLog(p)
		}
		return
	}
	if err := s.watch(p, p.pidfd); err != nil {
		s.logger.Error("process is not watched", "process", p.record.ID, "error", err)
	}
}

func (s *server) continueStdio(r *journal.Start, h *handover.Stdio) *stdio.Stdio {
	io, err := stdio.Continue(s.shared, stdioConfig(r), s.claimCursor(r), h)
	if err == nil {
		err = io.Serve()
	}
	if err != nil {
		s.logger.Error("stdio does not go on: output stays unread", "process", r.ID, "error", err)
	}
	return io
}

// continueConns takes over the connections of before. Nothing is received on them before serveConns.
func (s *server) continueConns(state *handover.State) error {
	var errs []error
	for _, h := range state.Conns {
		socket, err := sys.InheritSeqpacket(h.Socket, "connection")
		if err != nil {
			errs = append(errs, err, h.Socket.Close())
			continue
		}
		c := newConn(s, socket)
		for _, p := range h.Partial {
			c.conn.SetPartial(p.Number, p.Files, p.Lost)
		}
		for _, e := range h.Events {
			c.events = append(c.events, wire.Message{Type: e.Type, Payload: e.Payload})
		}
		c.owed = h.Owed
		s.conns[c] = struct{}{}
	}
	return errors.Join(errs...)
}

// serveConns serves connections of before, and tells who asked for the upgrade. One that speaks another version of the protocol
// is closed: its client dials again, and is greeted anew.
func (s *server) serveConns(protocol uint32) error {
	var errs []error
	for _, c := range s.connections() {
		if c.owed != 0 {
			c.reply(c.owed, done(func() error { return nil }))
			c.setOwed(0)
		}
		if protocol != wire.Version {
			s.drop(c)
			errs = append(errs, c.conn.Drop(), c.close())
			continue
		}
		c.wakeUp()
		go c.serve()
	}
	return errors.Join(errs...)
}

// takeListener continues with the socket of before, or makes one.
func (s *server) takeListener(cfg Config, state *handover.State) (err error) {
	if state == nil {
		s.listener, err = listen(cfg.Socket)
		return err
	}
	s.listener, err = sys.InheritSeqpacket(state.Listener, cfg.Socket)
	return err
}
