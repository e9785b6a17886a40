package pod

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// reserveTime is how long a client has to come for what was reserved for it: as long as its address is good for.
const reserveTime = time.Minute

// reservation is a client's place at a container that was not started when it asked: the pipes are connected, so that
// nothing is lost until it comes.
type reservation struct {
	pipes  *pipes
	expire *time.Timer
}

// ReserveAttach connects a client to a container that has not been started yet. [Manager.Attach] then hands it everything
// from the first byte on, also if the container has started or even ended meanwhile. A second reservation replaces the
// first.
func (m *Manager) ReserveAttach(ctx context.Context, id string, stdin, stdout, stderr bool) error {
	c, err := m.findContainer(id)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if err := m.reserveAttach(ctx, c, stdin, stdout, stderr); err != nil {
		return fmt.Errorf("attach to container %s: %w", c.rec.ID, err)
	}
	return nil
}

func (m *Manager) reserveAttach(ctx context.Context, c *containerEntry, stdin, stdout, stderr bool) error {
	m.mu.Lock()
	ready := c.rec.State == ContainerCreated && c.prepared
	m.mu.Unlock()
	if !ready {
		return errdefs.FailedPrecondition("berthd was restarted since it was made, or it is being started; attach when it runs")
	}
	p, err := m.connect(ctx, c, stdin, stdout, stderr)
	if err != nil {
		return err
	}
	r := &reservation{pipes: p}
	m.mu.Lock()
	old := c.reserved
	c.reserved = r
	r.expire = time.AfterFunc(reserveTime, func() { m.expireReservation(c, r) })
	m.mu.Unlock()
	return old.close()
}

// takeReserved returns the pipes that wait for a client, nil if there are none.
func (m *Manager) takeReserved(c *containerEntry) *pipes {
	m.mu.Lock()
	r := c.reserved
	c.reserved = nil
	m.mu.Unlock()
	if r == nil {
		return nil
	}
	r.expire.Stop()
	return r.pipes
}

// expireReservation lets a container go on whose client did not come.
func (m *Manager) expireReservation(c *containerEntry, r *reservation) {
	m.mu.Lock()
	mine := c.reserved == r
	if mine {
		c.reserved = nil
	}
	m.mu.Unlock()
	if !mine {
		return
	}
	m.log.Debug("a client did not come for the container that it attached to", "container", c.rec.ID)
	if err := r.close(); err != nil {
		m.log.Warn("give up a client's place", "container", c.rec.ID, "err", err)
	}
}

// dropReserved gives up a place that nobody will take any more.
func (m *Manager) dropReserved(c *containerEntry) error {
	if p := m.takeReserved(c); p != nil {
		return p.close()
	}
	return nil
}

func (r *reservation) close() error {
	if r == nil {
		return nil
	}
	r.expire.Stop()
	return r.pipes.close()
}
