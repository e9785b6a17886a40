package pod

import "time"

// announce publishes what happened to a pod or to a container of it. Making the event costs a copy of the pod's
// statuses, so it is made only if somebody listens.
func (m *Manager) announce(t EventType, id string, podID string) {
	if !m.bus.Listeners() {
		return
	}
	m.mu.Lock()
	p, ok := m.pods[podID]
	if !ok {
		m.mu.Unlock()
		return
	}
	e := m.eventLocked(t, id, p)
	m.mu.Unlock()
	m.bus.Publish(e)
}

func (m *Manager) eventLocked(t EventType, id string, p *podEntry) Event {
	return Event{
		Type: t, ID: id, At: time.Now(), Pod: p.statusLocked(m), Containers: m.containerStatusesLocked(p.rec.ID),
	}
}
