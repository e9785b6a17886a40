package client

import "sync"

// mailbox is an unbounded queue before a channel: a slow reader of events must not hold up replies.
type mailbox struct {
	out  chan Event
	wake chan struct{}

	mu     sync.Mutex
	queued []Event
}

func newMailbox() *mailbox {
	return &mailbox{out: make(chan Event, 16), wake: make(chan struct{}, 1)}
}

func (m *mailbox) put(e Event) {
	m.mu.Lock()
	m.queued = append(m.queued, e)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.queued
	m.queued = nil
	return list
}

// deliver passes events on until done, then closes the channel. What nobody has read by then is in the keeper's list.
func (m *mailbox) deliver(done <-chan struct{}) {
	defer close(m.out)
	for {
		for _, e := range m.take() {
			select {
			case m.out <- e:
			case <-done:
				return
			}
		}
		select {
		case <-m.wake:
		case <-done:
			return
		}
	}
}
