package stdio

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/lane"
	"github.com/berth-runtime/berth/runtime/logs"
)

// Config describes the stdio of one process.
type Config struct {
	ID       string // for messages
	Dir      string // of the FIFOs
	LogPath  string // "" discards output
	Terminal bool
	Stdin    bool // FIFOs only
	Once     bool // input ends with the first client's
}

// Stdio is the stdio of one process.
type Stdio struct {
	cfg    Config
	shared *Shared
	cursor *Cursor // nil: output needs none

	lane lane.Lane
	// All below belongs to the lane.
	log      *logs.File // nil: output is discarded
	out      [2]output  // stdout and stderr; a terminal has one
	in       input
	clients  []*client
	partial  []byte // a terminal's unfinished line
	lost     int    // bytes that could not be logged, not reported yet
	lostAt   time.Time
	finished bool
}

// output is where a process's output comes out.
type output struct {
	fd     sys.Raw
	stream logs.Stream
	queued atomic.Bool // a turn is in the lane
}

// newStdio returns one without files.
func newStdio(shared *Shared, cfg Config, cursor *Cursor) *Stdio {
	s := &Stdio{cfg: cfg, shared: shared, cursor: cursor}
	s.out[0].fd, s.out[0].stream = sys.NoFile, logs.Stdout
	s.out[1].fd, s.out[1].stream = sys.NoFile, logs.Stderr
	s.in.fd = sys.NoFile
	return s
}

// Serve begins to move data. It is called once, when there is a process.
func (s *Stdio) Serve() error {
	return s.lane.Wait(func() error {
		errs := []error{s.watch()}
		for _, c := range slices.Clone(s.clients) { // of a former life
			errs = append(errs, s.watchClient(c))
		}
		return errors.Join(errs...)
	})
}

func (s *Stdio) watch() error {
	if s.cfg.Terminal {
		return s.watchMaster()
	}
	for i := range s.out {
		if err := s.watchOutput(&s.out[i]); err != nil {
			return err
		}
	}
	if s.in.fd == sys.NoFile {
		return nil
	}
	if err := s.shared.Poller.Add(s.in.fd, sys.ReadyOut, s.inputReady); err != nil {
		return fmt.Errorf("watch stdin of %s: %w", s.cfg.ID, err)
	}
	return nil
}

func (s *Stdio) watchOutput(o *output) error {
	if o.fd == sys.NoFile {
		return nil
	}
	if err := s.shared.Poller.Add(o.fd, sys.ReadyIn, func(sys.Ready) { s.schedule(o) }); err != nil {
		return fmt.Errorf("watch %s of %s: %w", o.stream, s.cfg.ID, err)
	}
	return nil
}

func (s *Stdio) watchMaster() error {
	o := &s.out[0]
	if o.fd == sys.NoFile {
		return nil // a successor waits for it to be handed over
	}
	err := s.shared.Poller.Add(o.fd, sys.ReadyIn|sys.ReadyOut, func(r sys.Ready) {
		if r&(sys.ReadyIn|sys.Broken) != 0 {
			s.schedule(o)
		}
		if r&sys.ReadyOut != 0 {
			s.inputReady(r)
		}
	})
	if err != nil {
		return fmt.Errorf("watch terminal of %s: %w", s.cfg.ID, err)
	}
	return nil
}

// SetMaster gives a successor the terminal's master, which it owns from then on. A second one is closed.
func (s *Stdio) SetMaster(master sys.Raw) error {
	return s.lane.Wait(func() error {
		if !s.cfg.Terminal || s.finished || s.out[0].fd != sys.NoFile {
			return master.Close()
		}
		if err := master.SetNonblock(true); err != nil {
			return errors.Join(err, master.Close())
		}
		s.out[0].fd, s.in.fd = master, master
		return s.watchMaster()
	})
}

// Master returns a duplicate of the terminal's master; NoFile if there is none.
func (s *Stdio) Master() (master sys.Raw, err error) {
	master = sys.NoFile
	err = s.lane.Wait(func() (err error) {
		if s.cfg.Terminal && s.out[0].fd != sys.NoFile {
			master, err = s.out[0].fd.Dup()
		}
		return err
	})
	return master, err
}

// Resize sets the size of the terminal.
func (s *Stdio) Resize(width, height uint16) error {
	return s.lane.Wait(func() error {
		if !s.cfg.Terminal || s.out[0].fd == sys.NoFile {
			return errdefs.FailedPrecondition("resize terminal of %s: it has none", s.cfg.ID)
		}
		if err := s.out[0].fd.SetSize(width, height); err != nil {
			return fmt.Errorf("resize terminal of %s: %w", s.cfg.ID, err)
		}
		return nil
	})
}

// ReopenLog goes on in the file that is at the log's path now. On error nothing changes.
func (s *Stdio) ReopenLog() error {
	return s.lane.Wait(func() error {
		if s.finished {
			return errdefs.FailedPrecondition("reopen log of %s: the process has ended", s.cfg.ID)
		}
		if s.cfg.LogPath == "" {
			return errdefs.FailedPrecondition("reopen log of %s: it has none", s.cfg.ID)
		}
		old := s.log
		if err := s.openLog(); err != nil {
			return err
		}
		if old == nil { // a successor could not open it
			return nil
		}
		return old.Close()
	})
}

// Flush writes a terminal's unfinished line to the log: the keeper is about to end, and nobody else has it.
func (s *Stdio) Flush() error {
	return s.lane.Wait(func() error { return s.flushPartial() })
}

// Finish is called when the process has ended: it moves what is left into the log, closes all but the clients that have
// not read everything yet, and then calls done, without waiting.
func (s *Stdio) Finish(done func()) {
	s.lane.Do(func() {
		if err := s.finish(); err != nil {
			s.shared.Logger.Error("stdio did not end cleanly", "process", s.cfg.ID, "error", err)
		}
		done()
	})
}

func (s *Stdio) finish() error {
	if s.finished {
		return nil
	}
	errs := []error{s.drain()}
	s.finished = true
	for _, c := range slices.Clone(s.clients) {
		errs = append(errs, s.closeInput(c))
		for i := range c.out {
			if len(c.out[i].queue) == 0 {
				errs = append(errs, s.closeSink(c, &c.out[i]))
			}
		}
	}
	return errors.Join(append(errs, s.closeOwn())...)
}

// drain moves what the process has left behind, at most drainTurns chunks of it: others that have its output open may write
// for ever.
func (s *Stdio) drain() error {
	var errs []error
	for i := range s.out {
		o := &s.out[i]
		if o.fd == sys.NoFile {
			continue
		}
		more, err := true, error(nil)
		for n := 0; more && err == nil && n < drainTurns; n++ {
			more, err = s.turn(o, false)
		}
		if err == nil {
			_, err = s.turn(o, true)
		}
		errs = append(errs, err)
	}
	errs = append(errs, s.flushPartial())
	s.reportLoss()
	return errors.Join(errs...)
}

// closeOwn closes the keeper's ends and the log.
func (s *Stdio) closeOwn() error {
	errs := []error{s.closeStdin()}
	for i := range s.out {
		o := &s.out[i]
		if o.fd == sys.NoFile {
			continue
		}
		errs = append(errs, s.unwatch(o.fd), o.fd.Close())
		o.fd = sys.NoFile
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
		s.log = nil
	}
	return errors.Join(errs...)
}

// unwatch removes a descriptor from the poller; one that was never added is no error.
func (s *Stdio) unwatch(fd sys.Raw) error {
	if err := s.shared.Poller.Remove(fd); err != nil && !errors.Is(err, errNotWatched) {
		return err
	}
	return nil
}

// Remove closes everything that is still open, also clients that did not read to the end, and removes the FIFOs.
func (s *Stdio) Remove() error {
	return s.lane.Wait(func() error {
		return errors.Join(s.finish(), s.closeClients(), removeFiles(s.cfg.Dir))
	})
}
