package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/oci"
)

// event is a line of the events command, in runc's form.
type event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

func eventsCommand() *command {
	var once bool
	var interval time.Duration
	c := newCommand("events", "CONTAINER", "print the counters of a container as long as it runs", 1, 1)
	c.flags.BoolVar(&once, "stats", false, "print them once")
	c.flags.DurationVar(&interval, "interval", 5*time.Second, "how often")
	c.run = func(ctx context.Context, a *app, args []string) error {
		if interval <= 0 {
			return errdefs.Invalid("duration interval must be greater than 0")
		}
		s, err := a.runtime.State(args[0])
		if err != nil {
			return err
		}
		if s.Status == oci.StatusStopped {
			return errdefs.FailedPrecondition("container with id %s is not running", args[0])
		}
		if once {
			return a.stats(args[0])
		}
		return a.follow(ctx, args[0], interval)
	}
	return c
}

// follow prints events until the container has ended.
func (a *app) follow(ctx context.Context, id string, interval time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	oom := make(chan struct{})
	go a.watchOOM(ctx, id, oom)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		emit := a.stats
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case _, ok := <-oom:
			if !ok {
				oom, emit = nil, nil // its group may be gone
				break
			}
			emit = func(id string) error { return a.event(event{Type: "oom", ID: id}) }
		}
		s, err := a.runtime.State(id)
		if errors.Is(err, errdefs.ErrNotFound) || err == nil && s.Status == oci.StatusStopped {
			return nil
		}
		if err == nil && emit != nil {
			err = emit(id)
		}
		if err != nil {
			return err
		}
	}
}

// watchOOM tells of lack of memory, and by closing the channel that nothing more will come.
func (a *app) watchOOM(ctx context.Context, id string, oom chan<- struct{}) {
	defer close(oom)
	err := a.runtime.WatchOOM(ctx, id, func() {
		select {
		case oom <- struct{}{}:
		case <-ctx.Done():
		}
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, errdefs.ErrNotFound) {
		a.log.WarnContext(ctx, "no events of lack of memory", "container", id, "error", err)
	}
}

func (a *app) stats(id string) error {
	s, err := a.runtime.Stats(id)
	if err != nil {
		return err
	}
	return a.event(event{"stats", id, newStats(s)})
}

func (a *app) event(e event) error { return json.NewEncoder(a.stdout).Encode(e) }
