package events_test

import (
	"context"
	"errors"
	"testing"

	"github.com/berth-runtime/berth/cri-server/events"
)

func TestAStalledSubscriberLosesItsSubscriptionAndNobodyElseTheirs(t *testing.T) {
	bus := events.New[int](4)
	stalled, healthy := bus.Subscribe(), bus.Subscribe()
	for i := range 100 { // Publish would hang here if it waited for the stalled one
		bus.Publish(i)
		if got, err := healthy.Next(t.Context()); err != nil || got != i {
			t.Fatalf("got %d, %v, want %d", got, err, i)
		}
	}
	for want := range 4 {
		if got, err := stalled.Next(t.Context()); err != nil || got != want {
			t.Fatalf("got %d, %v, want %d", got, err, want)
		}
	}
	if _, err := stalled.Next(t.Context()); !errors.Is(err, events.ErrSlow) {
		t.Fatalf("got %v, want ErrSlow", err)
	}
	stalled.Close()
}

func TestCloseEndsEverySubscription(t *testing.T) {
	bus := events.New[int](1)
	before := bus.Subscribe()
	bus.Publish(7)
	bus.Close()
	after := bus.Subscribe()
	if got, err := before.Next(t.Context()); err != nil || got != 7 {
		t.Fatalf("the queued event is lost: %d, %v", got, err)
	}
	for _, s := range []*events.Subscription[int]{before, after} {
		if _, err := s.Next(t.Context()); !errors.Is(err, events.ErrClosed) {
			t.Fatalf("got %v, want ErrClosed", err)
		}
	}
	if bus.Listeners() {
		t.Fatal("listeners remain")
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	bus := events.New[int](1)
	s := bus.Subscribe()
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if !bus.Listeners() {
		t.Fatal("the subscription ended with a context of one call")
	}
}
