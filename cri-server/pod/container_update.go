package pod

import (
	"context"
	"fmt"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// UpdateResources changes the limits of a created or running container. What r does not say stays. If the kernel refuses,
// neither the record nor the limits have changed.
func (m *Manager) UpdateResources(ctx context.Context, id string, r *spec.Resources) error {
	c, err := m.findContainer(id)
	if err != nil {
		return fmt.Errorf("update container: %w", err)
	}
	c.lane.enter() // one update after the other, each on what the one before left
	defer c.lane.leave()
	rec := m.containerRecordOf(c)
	limits, err := spec.UpdateResources(rec.Config.Resources, r, m.host)
	if err != nil {
		return fmt.Errorf("update container %s: %w", rec.ID, err)
	}
	if rec.State != ContainerCreated && rec.State != ContainerRunning {
		return errdefs.FailedPrecondition("update container %s: it is %s", rec.ID, rec.State)
	}
	if err := m.cfg.Runtime.Update(ctx, rec.ID, limits); err != nil {
		return fmt.Errorf("update container %s: %w", rec.ID, err)
	}
	m.mu.Lock()
	c.rec.Config.Resources = spec.Merge(c.rec.Config.Resources, r)
	m.mu.Unlock()
	return m.saveContainerInLane(c)
}

// UpdatePodResources stores what the pod as a whole may use, and applies it where the pod's cgroup is berth's own: one that
// the client named is the client's to limit. Nil stays as it was.
func (m *Manager) UpdatePodResources(ctx context.Context, id string, overhead, resources *spec.Resources) error {
	p, err := m.findPod(id)
	if err != nil {
		return fmt.Errorf("update pod: %w", err)
	}
	limits, err := spec.LinuxResources(resources, m.host)
	if err != nil {
		return fmt.Errorf("update pod %s: %w", p.rec.ID, err)
	}
	if err := spec.CheckResources(overhead); err != nil {
		return fmt.Errorf("update pod %s: overhead: %w", p.rec.ID, err)
	}
	p.lane.enter()
	defer p.lane.leave()
	rec := m.recordOf(p)
	if rec.State != PodReady {
		return errdefs.FailedPrecondition("update pod %s: it is %s", rec.ID, rec.State)
	}
	if rec.OwnCgroup && resources != nil {
		if err := m.cfg.Cgroups.Update(ctx, rec.Cgroup, limits); err != nil {
			return fmt.Errorf("update pod %s: %w", rec.ID, err)
		}
	}
	m.mu.Lock()
	if overhead != nil {
		p.rec.Config.Overhead = spec.Merge(p.rec.Config.Overhead, overhead)
	}
	if resources != nil {
		p.rec.Config.Resources = spec.Merge(p.rec.Config.Resources, resources)
	}
	m.mu.Unlock()
	return m.savePodInLane(p)
}

// ReopenLog makes the container's log a new file after a rotation. It works as long as the container runs, also while it is
// being stopped.
func (m *Manager) ReopenLog(ctx context.Context, id string) error {
	c, err := m.runningContainer(id)
	if err != nil {
		return fmt.Errorf("reopen log: %w", err)
	}
	if err := m.cfg.Runtime.ReopenLog(ctx, c.rec.ID); err != nil {
		return fmt.Errorf("reopen log of container %s: %w", c.rec.ID, err)
	}
	return nil
}

func (m *Manager) runningContainer(id string) (*containerEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := find(m.containers, "container", id)
	if err != nil {
		return nil, err
	}
	if c.rec.State != ContainerRunning {
		return nil, errdefs.FailedPrecondition("container %s is %s, not running", c.rec.ID, c.rec.State)
	}
	return c, nil
}
