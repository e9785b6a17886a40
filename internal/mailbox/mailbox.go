// Package mailbox holds values until somebody reads them, so that who has news never waits for who wants them.
package mailbox

import "sync"

// Box is an unbounded queue before a channel. Values come out in the order in which they were put in.
type Box[T any] struct {
	out              chan T
	wake, stop, done chan struct{}

	mu     sync.Mutex
	queued []T
}

// New makes a box, which must be closed.
func New[T any]() *Box[T] {
	b := &Box[T]{out: make(chan T), wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go b.deliver()
	return b
}

// Out is where the values come out. It is closed with the box.
func (b *Box[T]) Out() <-chan T { return b.out }

// Put adds a value, and never waits. After Close the value is dropped.
func (b *Box[T]) Put(v T) {
	b.mu.Lock()
	b.queued = append(b.queued, v)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Close ends the delivery, once; what nobody has read is dropped.
func (b *Box[T]) Close() {
	close(b.stop)
	<-b.done
}

func (b *Box[T]) deliver() {
	defer close(b.done)
	defer close(b.out)
	for {
		for _, v := range b.take() {
			select {
			case b.out <- v:
			case <-b.stop:
				return
			}
		}
		select {
		case <-b.wake:
		case <-b.stop:
			return
		}
	}
}

func (b *Box[T]) take() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.queued
	b.queued = nil
	return list
}
