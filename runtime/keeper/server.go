package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/fdstore"
	"github.com/berth-runtime/berth/runtime/keeper/journal"
	"github.com/berth-runtime/berth/runtime/keeper/lane"
	"github.com/berth-runtime/berth/runtime/keeper/stdio"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

const (
	maxProcesses = 65536
	maxConns     = 64

	// forkServers is how many processes may be cloned at the same time without copying this one.
	forkServers = 2

	// acceptPause is how long connections wait when there is no room for one: no event tells that there is.
	acceptPause = 200 * time.Millisecond
)

// exhausted says whether an error is of a kind that goes by when something else is closed or freed (accept(2)).
func exhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// server is a running keeper.
type server struct {
	logger  *slog.Logger
	null    *os.File
	poller  *sys.Poller
	shared  *stdio.Shared
	cursors *stdio.Cursors
	journal *journal.File
	store   fdstore.Store
	buffers sync.Pool
	idle    *idler
	forks   *fork.Servers

	completing sync.WaitGroup // logs of processes that ended before this keeper began

	// What an upgrade needs.
	args      []string
	lock      *os.File
	listener  *sys.Seqpacket
	upgrading atomic.Bool
	accepting gate
	polling   gate

	mu        sync.Mutex
	processes map[string]*process // by ID
	conns     map[*conn]struct{}
	seq       uint64
	requests  int           // under way
	quieted   chan struct{} // closed when there are none, if somebody waits for that
	frozen    bool          // no end is announced: a successor does it
	late      []*process    // whose ends were not announced for that
}

// process is one process, from the moment that its ID is taken until it is forgotten. server.mu guards it, but for what is
// set before it is in the table.
type process struct {
	record  journal.Start // PID is 0 while it is being started
	stdio   *stdio.Stdio  // nil unless managed
	started bool          // there is a process
	pidfd   sys.Raw       // NoFile when it has ended
	ends    lane.Lane     // looks whether it has ended, one after another so that none is missed
	exited  bool
	told    bool // its end has been announced: all output is in the log
	exit    wire.Exit
}

// begin counts a request.
func (s *server) begin() {
	s.mu.Lock()
	s.requests++
	s.mu.Unlock()
}

// end counts a request that was answered.
func (s *server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests--
	if s.requests == 0 && s.quieted != nil {
		close(s.quieted)
		s.quieted = nil
	}
}

// quiet returns a channel that is closed once no request is under way. One at a time waits for it.
func (s *server) quiet() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := make(chan struct{})
	if s.requests == 0 {
		close(done)
		return done
	}
	s.quieted = done
	return done
}

func (s *server) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}

func (s *server) all() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.processes))
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.processes)
}

// reserve takes an ID.
func (s *server) reserve(id string) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.processes[id] != nil {
		return nil, errdefs.Exists("process %s exists", id)
	}
	if len(s.processes) >= maxProcesses {
		return nil, errdefs.New(errdefs.ErrExhausted, "there are %d processes already", maxProcesses)
	}
	s.seq++
	p := &process{pidfd: sys.NoFile, record: journal.Start{Seq: s.seq, ID: id}}
	s.processes[id] = p
	return p, nil
}

// release gives the ID of a process that did not start back.
func (s *server) release(p *process) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.processes, p.record.ID)
	return nil
}

// find returns a process that was started.
func (s *server) find(id string) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.processes[id]
	if p == nil || !p.started {
		return nil, errdefs.NotFound("process %s is not known", id)
	}
	return p, nil
}

// managed returns a process's stdio.
func (s *server) managed(id string) (*stdio.Stdio, error) {
	p, err := s.find(id)
	if err != nil {
		return nil, err
	}
	if p.stdio == nil {
		return nil, errdefs.FailedPrecondition("process %s has stdio of its own, not the keeper's", id)
	}
	return p.stdio, nil
}

func (s *server) list() []wire.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]wire.Process, 0, len(s.processes))
	for _, p := range s.processes {
		if !p.started {
			continue
		}
		w := wire.Process{ID: p.record.ID, PID: p.record.PID, StartTime: p.record.StartTime, At: p.record.At}
		if p.told { // before that its output is not all in the log
			w.Exited, w.Exit = true, p.exit
		}
		list = append(list, w)
	}
	return list
}

// liveRecords is what a compacted journal holds.
func (s *server) liveRecords() []journal.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var records []journal.Record
	for _, p := range s.processes {
		if p.record.PID == 0 {
			continue
		}
		start := p.record
		records = append(records, journal.Record{Start: &start})
		if p.exited {
			records = append(records, journal.Record{Ended: start.Seq, Exit: p.exit})
		}
	}
	return records
}

// accept serves connections until ctx ends, which closes the listener.
func (s *server) accept(ctx context.Context) error {
	for {
		socket, err := s.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				return socket.Close()
			}
			return nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.accepting.pass()
			continue
		}
		if exhausted(err) {
			s.logger.Error("no connection is accepted for now", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("accept connection: %w", err)
		}
		if err := s.welcome(socket); err != nil {
			s.logger.Error("connection refused", "error", err)
		}
	}
}

// welcome starts to serve a connection of root, or of the user that the keeper runs as.
func (s *server) welcome(socket *sys.Seqpacket) error {
	uid, err := socket.PeerUID()
	if err == nil && uid != 0 && int(uid) != os.Geteuid() {
		err = errdefs.New(errdefs.ErrPermission, "user %d may not talk to the keeper", uid)
	}
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	c := newConn(s, socket)
	s.mu.Lock()
	full := len(s.conns) >= maxConns
	if !full {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if full {
		return errors.Join(errdefs.New(errdefs.ErrExhausted, "there are %d connections already", maxConns), socket.Close())
	}
	go c.serve()
	return nil
}

// close lets go of everything; processes run on.
func (s *server) close() error {
	s.mu.Lock()
	var flush []*stdio.Stdio
	for _, p := range s.processes {
		if p.started && p.stdio != nil && p.record.Terminal && !p.exited {
			flush = append(flush, p.stdio)
		}
	}
	s.mu.Unlock()
	errs := []error{s.forks.Close()}
	for _, f := range flush {
		errs = append(errs, f.Flush())
	}
	for _, c := range s.connections() {
		errs = append(errs, c.close())
	}
	// The journal, the cursors and the processes' files stay open: lanes may be at work, and the process is about to end.
	return errors.Join(errs...)
}
