package pod

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/container"
)

// RemoveContainer kills the container if it runs, and removes it. One that does not exist is fine. If it fails, it is tried
// again, also without being asked.
func (m *Manager) RemoveContainer(ctx context.Context, id string) error {
	c, err := m.findContainer(id)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := m.removeContainerEntry(ctx, c); err != nil {
		return fmt.Errorf("remove container %s: %w", c.rec.ID, err)
	}
	return nil
}

func (m *Manager) removeContainerEntry(ctx context.Context, c *containerEntry) error {
	if err := m.stopContainerEntry(ctx, c, 0); err != nil {
		return err
	}
	return m.removeContainerJob(c).wait(ctx, "removing")
}

func (m *Manager) removeContainerJob(c *containerEntry) *call {
	return m.runJob(&c.remove, "remove container "+c.rec.ID, func(ctx context.Context) error { return m.removeContainerOnce(ctx, c) })
}

// abandonContainer undoes a container that could not be made.
func (m *Manager) abandonContainer(ctx context.Context, c *containerEntry) error {
	m.mu.Lock()
	c.failed = true
	m.mu.Unlock()
	return m.removeContainerJob(c).wait(ctx, "removing what was made")
}

// removeContainerOnce is one attempt. It does everything whatever fails; the record goes when nothing has.
func (m *Manager) removeContainerOnce(ctx context.Context, c *containerEntry) error {
	if gone, err := m.beginContainerRemove(c); gone || err != nil {
		return err
	}
	if err := m.releaseContainer(ctx, c); err != nil {
		m.mu.Lock()
		c.rec.Message = "removing: " + err.Error()
		m.mu.Unlock()
		return err
	}
	m.mu.Lock()
	p, known := m.pods[c.rec.PodID]
	known = known && !c.failed // nobody was told of one that failed
	delete(m.containers, c.rec.ID)
	delete(m.names, containerName(c.rec.PodID, c.rec.Config))
	var e Event
	if known {
		e = m.eventLocked(EventDeleted, c.rec.ID, p)
	}
	m.mu.Unlock()
	if known {
		m.bus.Publish(e)
	}
	return nil
}

func (m *Manager) beginContainerRemove(c *containerEntry) (gone bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.containers[c.rec.ID] != c {
		return true, nil
	}
	if c.rec.State == ContainerRemoving {
		return false, nil
	}
	if c.rec.State == ContainerStarting || c.rec.State == ContainerRunning {
		return false, errdefs.Unavailable("the container was started meanwhile, try again")
	}
	closeOnce(c.exited)
	return false, transition(containerMoves(), &c.rec.State, ContainerRemoving)
}

// releaseContainer takes down all that a container may have, whether or not it was ever made.
func (m *Manager) releaseContainer(ctx context.Context, c *containerEntry) error {
	m.rates.Forget(c.rec.ID)
	m.layers.Forget(c.rec.ID)
	rec := m.containerRecordOf(c)
	var errs []error
	fail := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	fail("delete from the runtime", m.cfg.Runtime.Delete(ctx, rec.ID, container.DeleteOptions{CgroupPath: rec.Cgroup}))
	fail("discard the writable layer", m.cfg.Images.Discard(ctx, rec.ID))
	for i, mount := range rec.Config.Mounts {
		if mount.Image != nil {
			fail("release image "+mount.Image.Image, m.cfg.Images.Discard(ctx, viewKey(rec.ID, i)))
		}
	}
	fail("remove anonymous volumes", os.RemoveAll(m.volumesOf(rec.ID)))
	fail("give up a client's place", m.dropReserved(c))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return m.dropContainer(c)
}
