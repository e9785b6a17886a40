package pod

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// StopContainer sends the stop signal, and kills the container when the timeout is over; at once if it is not positive. It
// returns when the container has ended. A second call with less time shortens that of the first. A container that does not
// run, or does not exist, is fine.
func (m *Manager) StopContainer(ctx context.Context, id string, timeout time.Duration) error {
	c, err := m.findContainer(id)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := m.stopContainerEntry(ctx, c, timeout); err != nil {
		return fmt.Errorf("stop container %s: %w", c.rec.ID, err)
	}
	return nil
}

func (m *Manager) stopContainerEntry(ctx context.Context, c *containerEntry, timeout time.Duration) error {
	if err := c.create.wait(ctx, "making the container"); err != nil {
		return ctx.Err() // one that could not be made is on its way out already
	}
	m.mu.Lock()
	start := c.start
	m.mu.Unlock()
	if start != nil {
		if err := start.wait(ctx, "the start"); ctx.Err() != nil {
			return err
		}
	}
	s := m.beginContainerStop(c, timeout)
	if s == nil {
		return m.awaitEnd(ctx, c)
	}
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("the container has not ended yet: %w", ctx.Err())
	}
}

// awaitEnd waits until what is to be done about the end of a container that does not run is done.
func (m *Manager) awaitEnd(ctx context.Context, c *containerEntry) error {
	if m.containerRecordOf(c).State != ContainerExited {
		return nil
	}
	select {
	case <-c.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// beginContainerStop starts to stop a running container, or makes haste with the stop that is under way. It returns nil
// if the container does not run.
func (m *Manager) beginContainerStop(c *containerEntry, timeout time.Duration) *stopping {
	deadline := time.Now().Add(max(timeout, 0))
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.rec.State != ContainerRunning {
		return nil
	}
	if s := c.stopping; s != nil {
		if deadline.Before(s.deadline) {
			s.deadline = deadline
			select {
			case s.sooner <- struct{}{}:
			default: // told already, and it will read the deadline of now
			}
		}
		return s
	}
	s := &stopping{deadline: deadline, sooner: make(chan struct{}, 1), done: make(chan struct{})}
	c.stopping = s
	signal := syscall.Signal(0)
	if timeout > 0 {
		signal = syscall.Signal(c.rec.StopSignal)
	}
	m.background.Go(func() { m.runStop(c, s, signal) })
	return s
}

// runStop signals, waits and kills. It ends when the container has, or when the kill did not help: then the next call
// tries again.
func (m *Manager) runStop(c *containerEntry, s *stopping, signal syscall.Signal) {
	if signal != 0 {
		if err := m.signalContainer(c, signal); err != nil {
			m.log.Warn("stop signal", "container", c.rec.ID, "err", err) // the kill will follow
		}
	}
	var err error
	switch m.awaitDeadline(c, s) {
	case stopDue:
		err = m.killContainer(c)
	case stopClosing:
		err = errClosed()
	}
	m.mu.Lock()
	c.stopping = nil
	s.err = err
	m.mu.Unlock()
	close(s.done)
}

// signalContainer does not mind a container that has just ended.
func (m *Manager) signalContainer(c *containerEntry, signal syscall.Signal) error {
	ctx, cancel := m.limited()
	defer cancel()
	err := m.cfg.Runtime.Signal(ctx, c.rec.ID, signal)
	if err == nil || errors.Is(err, errdefs.ErrFailedPrecondition) || errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	return fmt.Errorf("send signal %d: %w", signal, err)
}

// verdict is how the wait for a container to stop by itself ended.
type verdict int

const (
	stopDue verdict = iota // the time is over
	stopEnded
	stopClosing
)

// awaitDeadline waits for the container to end until the deadline, which may move towards us meanwhile.
func (m *Manager) awaitDeadline(c *containerEntry, s *stopping) verdict {
	for {
		m.mu.Lock()
		left := time.Until(s.deadline)
		m.mu.Unlock()
		if left <= 0 {
			return stopDue
		}
		timer := time.NewTimer(left)
		select {
		case <-c.exited:
			timer.Stop()
			return stopEnded
		case <-m.closing:
			timer.Stop()
			return stopClosing
		case <-timer.C:
		case <-s.sooner:
			timer.Stop()
		}
	}
}

// killContainer returns when the container's end is recorded.
func (m *Manager) killContainer(c *containerEntry) error {
	ctx, cancel := m.limited()
	defer cancel()
	if err := m.cfg.Runtime.Kill(ctx, c.rec.ID); err != nil {
		select {
		case <-c.exited: // it ended by itself meanwhile
			return nil
		default:
			return fmt.Errorf("kill: %w", err)
		}
	}
	select {
	case <-c.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("killed, but its end was not reported: %w", ctx.Err())
	}
}
