package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/handover"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// freeze is a keeper that is being brought to a standstill, or stands still. Its order is that of what causes what: nothing comes in
// any more, what is under way ends, nothing is moved, nothing goes out. thaw undoes it, from any point.
type freeze struct {
	s       *server
	conns   []*conn
	release chan struct{} // closed by thaw: lanes go on
}

// freeze returns when nothing moves. On error everything goes on, as after thaw.
func (s *server) freeze(ctx context.Context) (f *freeze, stdio map[*process]*handover.Stdio, err error) {
	f = &freeze{s: s, release: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.thaw())
		}
	}()
	if err := f.stopReceiving(ctx); err != nil {
		return nil, nil, fmt.Errorf("stop to take requests: %w", err)
	}
	if err := await(ctx, s.quiet()); err != nil {
		return nil, nil, fmt.Errorf("wait for requests that are under way: %w", err)
	}
	parked := s.polling.close()
	if err := s.poller.Interrupt(); err != nil {
		return nil, nil, err
	}
	if err := await(ctx, parked); err != nil {
		return nil, nil, fmt.Errorf("stop to poll: %w", err)
	}
	if stdio, err = f.stopMoving(ctx); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	s.frozen = true
	s.mu.Unlock()
	if err := f.stopSending(ctx); err != nil {
		return nil, nil, fmt.Errorf("stop to send: %w", err)
	}
	return f, stdio, nil
}

func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errdefs.Unavailable("not within %v", freezeLimit)
	}
}

// stopReceiving stops who accepts connections and who receives requests.
func (f *freeze) stopReceiving(ctx context.Context) error {
	accepting := f.s.accepting.close()
	if err := f.s.listener.InterruptReceive(true); err != nil {
		return err
	}
	if err := await(ctx, accepting); err != nil {
		return err
	}
	f.conns = f.s.connections()
	receiving := make([]<-chan struct{}, len(f.conns))
	for i, c := range f.conns {
		receiving[i] = c.receiving.close()
		if err := c.conn.InterruptReceive(true); err != nil {
			continue // it has ended, which closes done
		}
	}
	for i, c := range f.conns {
		select {
		case <-receiving[i]:
		case <-c.done:
		case <-ctx.Done():
			return await(ctx, nil)
		}
	}
	return nil
}

// stopMoving holds the lanes of all processes, first those that look for ends, which give work to the others.
func (f *freeze) stopMoving(ctx context.Context) (map[*process]*handover.Stdio, error) {
	processes := f.s.all()
	held := make(chan struct{}, len(processes))
	for _, p := range processes {
		p.ends.Do(func() {
			held <- struct{}{}
			<-f.release
		})
	}
	for range processes {
		if err := await(ctx, held); err != nil {
			return nil, fmt.Errorf("wait for processes that are ending: %w", err)
		}
	}
	type taken struct {
		of    *process
		stdio *handover.Stdio
		err   error
	}
	all := make(chan taken, len(processes))
	for _, p := range processes {
		if p.stdio == nil {
			all <- taken{of: p}
			continue
		}
		p.stdio.Freeze(f.release, func(h *handover.Stdio, err error) { all <- taken{p, h, err} })
	}
	stdio := make(map[*process]*handover.Stdio, len(processes))
	for range processes {
		select {
		case t := <-all:
			if t.err != nil {
				return nil, fmt.Errorf("stdio of %s: %w", t.of.record.ID, t.err)
			}
			stdio[t.of] = t.stdio
		case <-ctx.Done():
			return nil, errdefs.Unavailable("logs are not written within %v", freezeLimit)
		}
	}
	return stdio, nil
}

// stopSending stops who sends events. What they have not sent stays with them.
func (f *freeze) stopSending(ctx context.Context) error {
	for _, c := range f.conns {
		parked := c.sending.close()
		if err := c.conn.InterruptSend(true); err != nil {
			continue
		}
		c.wakeUp()
		select {
		case <-parked:
		case <-c.done:
		case <-ctx.Done():
			return await(ctx, nil)
		}
	}
	return nil
}

// thaw lets everything go on.
func (f *freeze) thaw() error {
	s := f.s
	s.mu.Lock()
	s.frozen = false
	late := s.late
	s.late = nil
	s.mu.Unlock()
	var errs []error
	for _, c := range f.conns {
		for _, err := range []error{c.conn.InterruptSend(false), c.conn.InterruptReceive(false)} {
			if !errors.Is(err, os.ErrClosed) { // it has ended meanwhile
				errs = append(errs, err)
			}
		}
		c.sending.open()
		c.receiving.open()
	}
	close(f.release)
	errs = append(errs, s.poller.Continue(), s.listener.InterruptReceive(false))
	s.polling.open()
	s.accepting.open()
	for _, p := range late {
		s.announce(p)
	}
	return errors.Join(errs...)
}

// state is what a successor continues from.
func (f *freeze) state(stdio map[*process]*handover.Stdio) (*handover.State, error) {
	s := f.s
	lock, err := sys.Number(s.lock)
	if err != nil {
		return nil, err
	}
	listener, err := s.listener.Number()
	if err != nil {
		return nil, err
	}
	h := &handover.State{Protocol: wire.Version, Lock: lock, Listener: listener}
	for _, c := range f.conns {
		if state, ok := c.state(); ok {
			h.Conns = append(h.Conns, state)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		h.Processes = append(h.Processes, handover.Process{
			Seq: p.record.Seq, Pidfd: p.pidfd, Exited: p.exited, Told: p.told, Exit: p.exit, Stdio: stdio[p],
		})
	}
	return h, nil
}
