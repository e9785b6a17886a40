package container

import "sync"

// mailbox is an unbounded queue in front of a channel, so that who reports an exit never waits for who reads it.
type mailbox struct {
	out  chan ExitEvent
	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	mu     sync.Mutex
	queued []ExitEvent
}

func newMailbox() *mailbox {
	m := &mailbox{out: make(chan ExitEvent), wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go m.deliver()
	return m
}

func (m *mailbox) put(e ExitEvent) {
	m.mu.Lock()
	m.queued = append(m.queued, e)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() []ExitEvent {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.queued
	m.queued = nil
	return list
}

func (m *mailbox) deliver() {
	defer close(m.done)
	defer close(m.out)
	for {
		for _, e := range m.take() {
			select {
			case m.out <- e:
			case <-m.stop:
				return
			}
		}
		select {
		case <-m.wake:
		case <-m.stop:
			return
		}
	}
}

// close ends the delivery; what nobody has read is dropped.
func (m *mailbox) close() {
	close(m.stop)
	<-m.done
}
