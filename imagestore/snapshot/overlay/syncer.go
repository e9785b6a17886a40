package overlay

import (
	"context"
	"sync"

	"github.com/berth-runtime/berth/internal/sys"
)

// syncer brings a file system to the disk for many callers at once: those who ask while a syncfs runs share the next.
//
// The kernel tells a failed write to an open file once. So failures are counted here, and whoever wrote since before
// one of them has lost something, even if the next syncfs goes well.
type syncer struct {
	fs      *sys.Dir
	running sync.WaitGroup

	mu       sync.Mutex
	active   bool
	next     *round // those who wait for the syncfs that has not begun
	failures uint64
	last     error // of the last failure
}

// round is one syncfs; done is closed at its end.
type round struct{ done chan struct{} }

// mark returns the number of failures so far. Take one before writing what sync is to vouch for.
func (s *syncer) mark() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failures
}

// sync returns when everything that was written before the call is on the disk, or that some of it, written since the
// mark, could not be.
func (s *syncer) sync(ctx context.Context, mark uint64) error {
	r := s.join()
	select {
	case <-r.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures != mark {
		return s.last
	}
	return nil
}

// start begins to bring to the disk what was written so far, and does not wait.
func (s *syncer) start() { s.join() }

func (s *syncer) join() *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &round{done: make(chan struct{})}
	}
	if !s.active {
		s.active = true
		s.running.Go(s.run)
	}
	return s.next
}

func (s *syncer) run() {
	for r := s.take(); r != nil; r = s.take() {
		if err := s.fs.SyncFS(); err != nil {
			s.fail(err)
		}
		close(r.done)
	}
}

func (s *syncer) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	s.last = err
}

// take closes the round to newcomers, or ends the run if nobody waits.
func (s *syncer) take() *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.next
	s.next = nil
	s.active = r != nil
	return r
}

// wait returns when no syncfs runs any more.
func (s *syncer) wait() { s.running.Wait() }
