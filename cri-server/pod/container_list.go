package pod

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/cri-server/spec"
)

func (m *Manager) findContainer(id string) (*containerEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return find(m.containers, "container", id)
}

// Container returns the status of a container; ErrNotFound if there is none. It never waits for anything.
func (m *Manager) Container(_ context.Context, id string) (ContainerStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := find(m.containers, "container", id)
	if err != nil {
		return ContainerStatus{}, err
	}
	return c.statusLocked(m), nil
}

// Containers returns the containers that a filter selects, oldest first.
func (m *Manager) Containers(_ context.Context, f ContainerFilter) []ContainerStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []ContainerStatus
	for _, c := range m.containers {
		r := &c.rec
		if r.State == ContainerCreating || !strings.HasPrefix(r.ID, f.ID) || !strings.HasPrefix(r.PodID, f.PodID) ||
			len(f.States) > 0 && !slices.Contains(f.States, r.State) || !matches(r.Config.Labels, f.Labels) {
			continue
		}
		list = append(list, c.statusLocked(m))
	}
	slices.SortFunc(list, func(a, b ContainerStatus) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return list
}

func (c *containerEntry) statusLocked(m *Manager) ContainerStatus {
	r := c.rec
	s := ContainerStatus{
		ID: r.ID, PodID: r.PodID, Config: r.Config, State: r.State,
		CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, FinishedAt: r.FinishedAt,
		ExitCode: r.ExitCode, Reason: r.Reason, Message: r.Message,
		ImageID: r.ImageID, ImageRef: r.ImageRef, StopSignal: r.StopSignal, PID: c.pid, SnapshotID: r.ID,
		User: User{UID: r.User.UID, GID: r.User.GID, Groups: spec.Groups(r.Config, r.User)},
	}
	if p, ok := m.pods[r.PodID]; ok {
		s.LogPath = spec.LogPath(p.rec.Config, r.Config)
	}
	return s
}
