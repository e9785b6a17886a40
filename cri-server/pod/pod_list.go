package pod

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/cri-server/spec"
)

func (m *Manager) findPod(id string) (*podEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return find(m.pods, "pod", id)
}

// containersOf returns the containers of a pod, those being created too.
func (m *Manager) containersOf(podID string) []*containerEntry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.containersOfLocked(podID)
}

func (m *Manager) containersOfLocked(podID string) []*containerEntry {
	var list []*containerEntry
	for _, c := range m.containers {
		if c.rec.PodID == podID {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *containerEntry) int { return a.rec.CreatedAt.Compare(b.rec.CreatedAt) })
	return list
}

// Pod returns the status of a pod; ErrNotFound if there is none.
func (m *Manager) Pod(_ context.Context, id string) (PodStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := find(m.pods, "pod", id)
	if err != nil {
		return PodStatus{}, err
	}
	return p.statusLocked(m), nil
}

// PodSnapshot returns the status of a pod and of its containers at one moment.
func (m *Manager) PodSnapshot(_ context.Context, id string) (PodStatus, []ContainerStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := find(m.pods, "pod", id)
	if err != nil {
		return PodStatus{}, nil, err
	}
	return p.statusLocked(m), m.containerStatusesLocked(p.rec.ID), nil
}

func (m *Manager) containerStatusesLocked(podID string) []ContainerStatus {
	var list []ContainerStatus
	for _, c := range m.containersOfLocked(podID) {
		if c.rec.State != ContainerCreating {
			list = append(list, c.statusLocked(m))
		}
	}
	return list
}

// Pods returns the pods that a filter selects, oldest first.
func (m *Manager) Pods(_ context.Context, f PodFilter) []PodStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []PodStatus
	for _, p := range m.pods {
		ready := p.rec.State == PodReady
		if p.rec.State == PodCreating || !strings.HasPrefix(p.rec.ID, f.ID) || f.Ready != nil && *f.Ready != ready ||
			!matches(p.rec.Config.Labels, f.Labels) {
			continue
		}
		list = append(list, p.statusLocked(m))
	}
	slices.SortFunc(list, func(a, b PodStatus) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return list
}

func matches(labels, want map[string]string) bool {
	for k, v := range want {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func (p *podEntry) statusLocked(m *Manager) PodStatus {
	r := p.rec
	return PodStatus{
		ID: r.ID, Config: r.Config, State: r.State, Reason: p.reason, CreatedAt: r.CreatedAt,
		IPs: r.IPs, Netns: r.Pins.Net, Cgroup: r.Cgroup, CNI: r.CNI, PausePID: p.pausePID,
	}
}

// IsHostNetwork says whether the pod is in the host's network.
func (p PodStatus) IsHostNetwork() bool {
	return p.Config.Security.Namespaces.Network == spec.NamespaceNode
}
