package keeper

import (
	"errors"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/journal"
	"github.com/berth-runtime/berth/runtime/keeper/stdio"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// takeOverLimit is how long the logs of processes that have ended hold back a new keeper.
const takeOverLimit = 2 * time.Second

// takeOver continues with a process of a former keeper. What can't be taken over is logged, and the rest goes on.
func (s *server) takeOver(st *journal.State, k kept) {
	p := &process{record: st.Start, pidfd: sys.NoFile, started: true}
	s.processes[st.Start.ID] = p
	if st.Start.Managed {
		s.restoreStdio(p)
	}
	if st.Exited {
		p.exited, p.exit = true, st.Exit.Exit
		s.completeLog(p)
		return
	}
	var err error
	pidfd := k.take(st.Start.Seq, keptPidfd)
	if pidfd == sys.NoFile {
		pidfd, err = findProcess(st.Start.PID, st.Start.StartTime)
	}
	if err != nil {
		// Not journaled: berthd may have a pidfd from before that tells more.
		p.exited, p.exit = true, unknownExit("it ended while no keeper was running")
		s.completeLog(p)
		return
	}
	p.pidfd = pidfd
	if err := s.watch(p, pidfd); err != nil {
		s.logger.Error("process is not watched", "process", st.Start.ID, "error", err)
	}
	if p.stdio != nil {
		err := p.stdio.Serve()
		if master := k.take(st.Start.Seq, keptMaster); master != sys.NoFile {
			err = errors.Join(err, p.stdio.SetMaster(master))
		}
		if err != nil {
			s.logger.Error("stdio is not served", "process", st.Start.ID, "error", err)
		}
	}
}

// completeLog moves what an ended process left in its FIFOs, if berthd held them open, into the log.
func (s *server) completeLog(p *process) {
	if p.stdio == nil {
		p.told = true
		return
	}
	s.completing.Add(1)
	p.stdio.Finish(func() {
		s.announce(p)
		s.completing.Done()
	})
}

// awaitLogs waits for all completeLog, but not for long: for a log on a dead disk nobody waits.
func (s *server) awaitLogs() {
	complete := make(chan struct{})
	go func() {
		s.completing.Wait()
		close(complete)
	}()
	select {
	case <-complete:
	case <-time.After(takeOverLimit):
		s.logger.Error("logs of ended processes are not complete yet")
	}
}

func (s *server) restoreStdio(p *process) {
	r := &p.record
	io, err := stdio.Restore(s.shared, stdioConfig(r), s.claimCursor(r))
	if err != nil {
		s.logger.Error("stdio can't be taken over: output stays unread", "process", r.ID, "error", err)
		return
	}
	p.stdio = io
}

func stdioConfig(r *journal.Start) stdio.Config {
	return stdio.Config{ID: r.ID, Dir: r.Dir, LogPath: r.LogPath, Terminal: r.Terminal, Stdin: r.Stdin, Once: r.Once}
}

// claimCursor returns the cursor that a process has from before; a terminal has none.
func (s *server) claimCursor(r *journal.Start) *stdio.Cursor {
	if r.Terminal {
		return nil
	}
	cursor, err := s.cursors.Claim(r.Slot, r.Seq)
	if err != nil {
		s.logger.Error("output goes on without protection against another kill", "process", r.ID, "error", err)
		return stdio.NewCursor()
	}
	return cursor
}

// findProcess returns a pidfd of exactly that process, not of a later one with its number.
func findProcess(pid int, startTime uint64) (sys.Raw, error) {
	pidfd, err := sys.RawPidfdOpen(pid)
	if err != nil {
		return sys.NoFile, err
	}
	st, err := sys.ReadProcStat(pid)
	if err == nil && (st.StartTime != startTime || !sys.PidfdAlive(pidfd)) {
		err = errdefs.NotFound("process %d is another one now", pid)
	}
	if err != nil {
		return sys.NoFile, errors.Join(err, pidfd.Close())
	}
	return pidfd, nil
}

func (s *server) decodeAdopt(m wire.Message) (handler, error) {
	a, err := wire.DecodeAdopt(m.Payload)
	if err != nil {
		return nil, err
	}
	f, rest, err := pick(a.Has, m.Files)
	if err == nil && len(rest) > 0 {
		err = errdefs.Invalid("adopt with %d files too many", len(rest))
	}
	if err != nil {
		return nil, err
	}
	const pidfd, master = 0, 3 // bits of HasStdin and HasMaster
	return done(func() error { return s.adopt(a.ID, f[pidfd], f[master]) }), nil
}

// adopt takes over what only berthd had kept.
func (s *server) adopt(id string, pidfd, master sys.Raw) error {
	p, err := s.find(id)
	if err != nil {
		return errors.Join(err, pidfd.Close(), master.Close())
	}
	if p.stdio != nil {
		err = p.stdio.SetMaster(master)
	} else {
		err = master.Close()
	}
	s.mu.Lock()
	unknown := p.exited && !p.exit.Known
	s.mu.Unlock()
	if unknown {
		end, ok := sys.PidfdExit(pidfd)
		if ok {
			s.noteExit(p, knownExit(end))
		}
		s.drain(p) // finished long ago: this only announces the end
	}
	return errors.Join(err, pidfd.Close())
}
