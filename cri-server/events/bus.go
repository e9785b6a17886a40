package events

import (
	"context"
	"errors"
	"sync"
)

// ErrSlow ends a subscription whose queue is full: events were lost, so its owner must list again.
var ErrSlow = errors.New("the subscriber did not keep up: events were lost, list again")

// ErrClosed ends every subscription when the bus closes.
var ErrClosed = errors.New("the event bus is closed")

// Bus is a set of subscribers to events of type T.
type Bus[T any] struct {
	limit int

	mu     sync.Mutex
	closed bool
	subs   map[*Subscription[T]]struct{}
}

// New returns a bus whose subscribers may each be limit events behind.
func New[T any](limit int) *Bus[T] {
	return &Bus[T]{limit: limit, subs: map[*Subscription[T]]struct{}{}}
}

// Publish hands e to every subscriber, and never waits.
func (b *Bus[T]) Publish(e T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subs {
		select {
		case s.queue <- e:
		default:
			b.endLocked(s, ErrSlow)
		}
	}
}

// Listeners says whether anybody would see an event, so that dear ones need not be made for nobody.
func (b *Bus[T]) Listeners() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs) > 0
}

// Subscribe returns a subscription that sees everything published from now on. Its owner must Close it.
func (b *Bus[T]) Subscribe() *Subscription[T] {
	s := &Subscription[T]{bus: b, queue: make(chan T, b.limit)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs[s] = struct{}{}
	if b.closed {
		b.endLocked(s, ErrClosed)
	}
	return s
}

// Close ends all subscriptions, now and later.
func (b *Bus[T]) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for s := range b.subs {
		b.endLocked(s, ErrClosed)
	}
}

func (b *Bus[T]) endLocked(s *Subscription[T], why error) {
	if _, ok := b.subs[s]; !ok {
		return
	}
	delete(b.subs, s)
	s.why = why
	close(s.queue) // orders the write of why before the read of it
}

// Subscription is one subscriber's queue.
type Subscription[T any] struct {
	bus   *Bus[T]
	queue chan T
	why   error // set before queue is closed
}

// Next waits for the next event. When the subscription has ended it first returns what is still queued, then why it
// ended: [ErrSlow] or [ErrClosed].
func (s *Subscription[T]) Next(ctx context.Context) (T, error) {
	var none T
	select {
	case e, ok := <-s.queue:
		if !ok {
			return none, s.why
		}
		return e, nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription[T]) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.bus.endLocked(s, ErrClosed)
}
