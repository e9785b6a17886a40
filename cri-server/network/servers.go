package network

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/berth-runtime/berth/internal/cniwire"
)

const (
	serverIdle = 3 * time.Second // how long a process waits for another call before it is ended
	maxIdle    = 8               // that wait at a time
	maxKnown   = 64
)

// servers are processes of berth's own plugins that serve one call after another: the start of a program takes longer than what the
// plugins do. A process serves one call at a time. It is ended after a call that failed or took too long, after a while without any, and
// is not used once its file was replaced. Other plugins are executed for each call.
type servers struct {
	mu     sync.Mutex
	known  map[program]bool // whether a plugin serves
	idle   []*server        // the one used last is last
	closed bool

	running sync.WaitGroup // processes that were not reaped yet
}

func newServers() *servers { return &servers{known: map[program]bool{}} }

// call has a server run a plugin. done is false if that plugin does not serve, and nothing has happened.
func (s *servers) call(ctx context.Context, path string, c cniwire.Call) (r cniwire.Reply, done bool, err error) {
	f, ok := identify(path)
	if !ok || !s.serves(f) {
		return r, false, nil
	}
	p := s.take(f)
	if p == nil {
		if p, err = s.start(ctx, f, c.Environ); err != nil {
			//lint:ignore nilerr executed by itself it says what is wrong
			return r, false, nil
		}
	}
	stop := context.AfterFunc(ctx, p.kill)
	r, err = p.call(c)
	if !stop() || err != nil || r.Status != 0 {
		p.end()
	} else {
		s.give(p)
	}
	return r, true, err
}

// serves tells whether a plugin is one of berth's that serves calls.
func (s *servers) serves(f program) bool {
	s.mu.Lock()
	serves, known := s.known[f]
	s.mu.Unlock()
	if !known {
		serves = isOurs(f.path)
		s.note(f, serves)
	}
	return serves
}

func (s *servers) note(f program, serves bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxKnown {
		clear(s.known) // files were replaced very often
	}
	s.known[f] = serves
}

// take returns a server of the file that waits, or nil.
func (s *servers) take(f program) *server {
	for {
		p := s.pick(f)
		if p == nil || p.alive() {
			return p
		}
		p.end()
	}
}

func (s *servers) pick(f program) *server {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range slices.Backward(s.idle) {
		if p.program == f {
			s.idle = slices.Delete(s.idle, i, i+1)
			p.timer.Stop()
			return p
		}
	}
	return nil
}

// give has a server wait for another call.
func (s *servers) give(p *server) {
	s.mu.Lock()
	full := s.closed || len(s.idle) >= maxIdle
	if !full {
		s.idle = append(s.idle, p)
		p.timer = time.AfterFunc(serverIdle, func() { s.expire(p) })
	}
	s.mu.Unlock()
	if full {
		p.end()
	}
}

// expire ends a server that still waits.
func (s *servers) expire(p *server) {
	s.mu.Lock()
	i := slices.Index(s.idle, p)
	if i >= 0 {
		s.idle = slices.Delete(s.idle, i, i+1)
	}
	s.mu.Unlock()
	if i >= 0 {
		p.end()
	}
}

// close ends all of them, those that are at work when their call is over.
func (s *servers) close() {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	s.mu.Unlock()
	for _, p := range idle {
		p.timer.Stop()
		p.end()
	}
	s.running.Wait()
}
