package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// stopped is why a command gave up: a signal. It is a context.Canceled for those who ask.
type stopped struct{ signal syscall.Signal }

func (s *stopped) Error() string        { return "stopped by a signal: " + s.signal.String() }
func (s *stopped) Is(target error) bool { return target == context.Canceled }

// untilSignal returns a context that ends with the first signal. The next one ends berth at once.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	first := make(chan os.Signal, 1)
	signal.Notify(first, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case s := <-first:
			signal.Stop(first)
			number, _ := s.(syscall.Signal)
			cancel(&stopped{number})
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(first); cancel(nil) }
}

// beside is what is left of an error when the news that a signal came is taken out: what the signal's sender knows.
func beside(err error) error {
	if err == nil || errors.Is(err, context.Canceled) && !isJoined(err) {
		return nil
	}
	joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err)
	if !ok {
		return err
	}
	var rest []error
	for _, e := range joined.Unwrap() {
		rest = append(rest, beside(e))
	}
	return errors.Join(rest...)
}

func isJoined(err error) bool {
	_, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err)
	return ok
}
