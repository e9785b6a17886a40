package pod

import (
	"context"
	"time"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

func logPathOf(pod podRecord, r containerRecord) string { return spec.LogPath(pod.Config, r.Config) }

// reconcile gives every container the state that the keeper knows of it.
func (m *Manager) reconcile(ctx context.Context, states map[string]container.State) {
	m.mu.Lock()
	pods, containers := m.podList(), m.containerList()
	m.mu.Unlock()
	for _, p := range pods {
		m.reconcilePod(p, states[p.rec.ID])
	}
	for _, c := range containers {
		if err := m.reconcileContainer(ctx, c, states[c.rec.ID]); err != nil {
			m.log.WarnContext(ctx, "take over a container", "container", c.rec.ID, "err", err)
		}
	}
}

// podList and containerList need Manager.mu.
func (m *Manager) podList() []*podEntry {
	list := make([]*podEntry, 0, len(m.pods))
	for _, p := range m.pods {
		list = append(list, p)
	}
	return list
}

func (m *Manager) containerList() []*containerEntry {
	list := make([]*containerEntry, 0, len(m.containers))
	for _, c := range m.containers {
		list = append(list, c)
	}
	return list
}

func (m *Manager) reconcilePod(p *podEntry, s container.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !p.rec.Pause {
		return
	}
	switch s.Status {
	case container.StatusRunning:
		p.pausePID, p.pause = s.PID, finished(nil)
	case container.StatusStopped:
		p.lost, p.reason = true, "the process that held its PID namespace has ended"
	}
}

func (m *Manager) reconcileContainer(ctx context.Context, c *containerEntry, s container.State) error {
	rec := m.containerRecordOf(c)
	if rec.State != ContainerUnknown {
		m.settle(c, rec.State)
		return nil
	}
	switch s.Status {
	case container.StatusRunning:
		return m.adopt(c, s)
	case container.StatusStopped:
		if err := m.adopt(c, s); err != nil {
			return err
		}
		m.endContainer(ctx, c, s.Exit)
		return nil
	}
	if rec.StartedAt.IsZero() { // neither keeper nor record know of a start
		return m.moveContainer(c, ContainerCreated)
	}
	if err := m.adopt(c, container.State{StartedAt: rec.StartedAt}); err != nil {
		return err
	}
	m.endContainer(ctx, c, client.Exit{At: time.Now(), Reason: "the keeper of the node was lost while nobody watched"})
	return nil
}

// adopt takes a container over that was started.
func (m *Manager) adopt(c *containerEntry, s container.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := transition(containerMoves(), &c.rec.State, ContainerRunning); err != nil {
		return err
	}
	c.prepared, c.pid = true, s.PID
	if c.rec.StartedAt.IsZero() {
		c.rec.StartedAt = s.StartedAt
	}
	return nil
}

// settle finishes what nobody waits for any more in a container that has ended or is going.
func (m *Manager) settle(c *containerEntry, state ContainerState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if state == ContainerExited || state == ContainerRemoving {
		closeOnce(c.exited)
	}
}

// takeDownHalfMade begins to remove what was being made, stopped or removed when berthd ended. It does not wait.
func (m *Manager) takeDownHalfMade() {
	m.mu.Lock()
	pods, containers := m.podList(), m.containerList()
	m.mu.Unlock()
	for _, c := range containers {
		switch m.containerRecordOf(c).State {
		case ContainerCreating, ContainerRemoving:
			m.removeContainerJob(c)
		}
	}
	for _, p := range pods {
		m.takeDownPod(p)
	}
}

func (m *Manager) takeDownPod(p *podEntry) {
	m.mu.Lock()
	state := p.rec.State
	lost := p.lost
	if state == PodCreating {
		p.failed, p.reason = true, "berthd ended while it was being made"
	}
	m.mu.Unlock()
	switch {
	case state == PodCreating, state == PodRemoving:
		m.removeJob(p)
	case state == PodStopping, state == PodReady && lost:
		m.stopJob(p)
	}
}
