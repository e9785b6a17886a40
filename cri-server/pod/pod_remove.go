package pod

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// RemovePod stops the pod if need be and removes it with all its containers. One that does not exist is fine. If it fails,
// it is tried again, also without being asked.
func (m *Manager) RemovePod(ctx context.Context, id string) error {
	p, err := m.findPod(id)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := p.create.wait(ctx, "making the pod"); ctx.Err() != nil { // as for a stop
		return fmt.Errorf("remove pod %s: %w", p.rec.ID, err)
	}
	if err := m.removeJob(p).wait(ctx, "removing"); err != nil {
		return fmt.Errorf("remove pod %s: %w", p.rec.ID, err)
	}
	return nil
}

func (m *Manager) removeJob(p *podEntry) *call {
	return m.runJob(&p.remove, "remove pod "+p.rec.ID, func(ctx context.Context) error { return m.removeOnce(ctx, p) })
}

// abandonPod undoes a pod that could not be made.
func (m *Manager) abandonPod(ctx context.Context, p *podEntry, why error) error {
	m.mu.Lock()
	p.failed, p.reason = true, why.Error()
	m.mu.Unlock()
	return m.removeJob(p).wait(ctx, "removing what was made")
}

// removeOnce is one attempt, from whatever state the pod is in.
func (m *Manager) removeOnce(ctx context.Context, p *podEntry) error {
	if err := m.stopJob(p).wait(ctx, "stopping"); err != nil {
		return err
	}
	var all errgroup.Group
	for _, c := range m.containersOf(p.rec.ID) {
		all.Go(func() error { return m.removeContainerEntry(ctx, c) })
	}
	if err := all.Wait(); err != nil {
		return err
	}
	if done, err := m.beginRemove(p); err != nil || done {
		return err
	}
	if err := m.deletePod(ctx, p); err != nil {
		m.mu.Lock()
		p.reason = err.Error()
		m.mu.Unlock()
		return err
	}
	m.mu.Lock()
	e := m.eventLocked(EventDeleted, p.rec.ID, p)
	delete(m.pods, p.rec.ID)
	delete(m.names, podName(p.rec.Config)) // last: who finds the name free finds everything free
	m.mu.Unlock()
	m.bus.Publish(e)
	return nil
}

// beginRemove moves the pod to removing; done says that it is gone already.
func (m *Manager) beginRemove(p *podEntry) (done bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pods[p.rec.ID] != p {
		return true, nil
	}
	if p.rec.State == PodRemoving {
		return false, nil
	}
	return false, transition(podMoves(), &p.rec.State, PodRemoving)
}

func (m *Manager) deletePod(ctx context.Context, p *podEntry) error {
	m.rates.Forget(p.rec.ID)
	if p.rec.OwnCgroup {
		if err := m.cfg.Cgroups.Remove(ctx, p.rec.Cgroup); err != nil {
			return fmt.Errorf("remove the pod's cgroup: %w", err)
		}
	}
	if err := os.RemoveAll(m.volumesOf(p.rec.ID)); err != nil {
		return fmt.Errorf("remove the pod's files: %w", err)
	}
	return m.dropPod(p)
}
