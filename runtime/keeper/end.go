package keeper

import (
	"errors"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/journal"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

const (
	codeUnknown  = 255
	signalOffset = 128

	// drainLimit is how long a log that can't be written (a disk that does not answer) holds back the news of an end.
	drainLimit = 10 * time.Second
)

// checkEnd looks whether a process has ended, and if so tells everyone. It does not wait.
func (s *server) checkEnd(p *process) {
	p.ends.Do(func() {
		s.mu.Lock()
		pidfd, look := p.pidfd, p.started && !p.exited
		s.mu.Unlock()
		if !look {
			return
		}
		exit, over := s.exitOf(p, pidfd)
		if !over {
			return
		}
		if err := s.unwatch(p); err != nil {
			s.logger.Error("close pidfd", "process", p.record.ID, "error", err)
		}
		s.noteExit(p, exit)
		s.drain(p)
	})
}

// exitOf returns how a process ended. over is false while it runs, or while a later event will say more.
func (s *server) exitOf(p *process, pidfd sys.Raw) (exit wire.Exit, over bool) {
	end, ok, err := sys.ReapPidfd(pidfd)
	if errors.Is(err, syscall.ECHILD) { // a former keeper's
		return adoptedExit(p.record.PID, p.record.StartTime, pidfd)
	}
	if err != nil {
		return unknownExit("the keeper could not wait for it: " + err.Error()), true
	}
	return knownExit(end), ok
}

// adoptedExit learns the exit of a process that is not our child: from its pidfd when it has been reaped, before that from
// the zombie.
func adoptedExit(pid int, startTime uint64, pidfd sys.Raw) (wire.Exit, bool) {
	if end, ok := sys.PidfdExit(pidfd); ok {
		return knownExit(end), true
	}
	st, err := sys.ReadProcStat(pid)
	if err == nil && st.StartTime == startTime && st.State == 'Z' {
		return knownExit(sys.WaitStatus(st.ExitCode)), true
	}
	if sys.PidfdAlive(pidfd) {
		return wire.Exit{}, false
	}
	// It was reaped between the two looks, or the kernel is too old to tell.
	if end, ok := sys.PidfdExit(pidfd); ok {
		return knownExit(end), true
	}
	return unknownExit("it ended after the death of the keeper that had started it, and this kernel (before 6.15) does not tell how"), true
}

func knownExit(end sys.ChildExit) wire.Exit {
	x := wire.Exit{Code: end.Status, At: time.Now(), Known: true}
	if end.Signal != 0 {
		x.Code, x.Signal = signalOffset+int(end.Signal), int(end.Signal)
	}
	return x
}

func unknownExit(reason string) wire.Exit {
	return wire.Exit{Code: codeUnknown, At: time.Now(), Reason: reason}
}

// noteExit puts the exit into the table and the journal.
func (s *server) noteExit(p *process, exit wire.Exit) {
	s.mu.Lock()
	p.exited, p.exit = true, exit
	seq := p.record.Seq
	s.mu.Unlock()
	if err := s.journal.Append(journal.Record{Ended: seq, Exit: exit}); err != nil {
		s.logger.Error("an exit is not in the journal and would be lost with this keeper", "process", p.record.ID, "error", err)
	}
}

// drain completes the log of a process that has ended, then announces the end.
func (s *server) drain(p *process) {
	if p.stdio == nil {
		s.announce(p)
		return
	}
	late := time.AfterFunc(drainLimit, func() {
		s.logger.Error("log can't be completed: the end of the process is announced without", "process", p.record.ID)
		s.announce(p)
	})
	p.stdio.Finish(func() {
		if late.Stop() {
			s.announce(p)
		}
	})
}

// announce sends the end of a process to everyone.
func (s *server) announce(p *process) {
	s.mu.Lock()
	if s.frozen {
		s.late = append(s.late, p)
		s.mu.Unlock()
		return
	}
	p.told = true
	event := wire.Event{ID: p.record.ID, Exit: p.exit}
	s.mu.Unlock()
	s.broadcast(wire.Message{Type: wire.TypeEvent, Payload: event.Encode()})
	s.unkeep(p)
	s.idle.touch()
}

// announceInputEnd tells those who hold the input of a process open.
func (s *server) announceInputEnd(id string) {
	s.mu.Lock()
	p := s.processes[id]
	s.mu.Unlock()
	if p != nil {
		s.unkeepOne(p, keptStdin)
	}
	s.broadcast(wire.Message{Type: wire.TypeInputEnd, Payload: wire.EncodeName(id)})
}

func (s *server) broadcast(m wire.Message) {
	for _, c := range s.connections() {
		if err := c.push(m); err != nil {
			s.logger.Error("connection closed: it does not read events", "error", err)
		}
	}
}

// forget drops a process that has ended.
func (s *server) forget(id string) error {
	s.mu.Lock()
	p := s.processes[id]
	if p != nil && !p.told {
		s.mu.Unlock()
		return errdefs.FailedPrecondition("forget process %s: it runs", id)
	}
	delete(s.processes, id)
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	err := s.removeStdio(p)
	s.unkeep(p)
	return errors.Join(err, s.journal.Append(journal.Record{Forget: p.record.Seq}))
}
