package oci

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/sys"
)

// maxSignals is how many signals may wait to be passed on; more are dropped.
const maxSignals = 128

// catchEnding returns where the signals arrive, for the rest of this process's life, that ask a program to end. They are caught
// before the first effect: else one would end this process between two of them, and nobody would undo those that were.
func catchEnding() chan os.Signal {
	got := make(chan os.Signal, maxSignals)
	signal.Notify(got, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	return got
}

// interruptible returns a context that ends with the first signal that asks this process to end, so that a hook is killed that
// may run for ever, and what has been done is undone. What is ignored, as under nohup(1), stays ignored.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	var list []os.Signal
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			list = append(list, s)
		}
	}
	if len(list) == 0 { // which would stand for all signals
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, list...)
}

// forHooks is interruptible where there are hooks. Without, there is nothing to wait for, and nothing is caught.
func forHooks(ctx context.Context, hooks *specs.Hooks) (context.Context, context.CancelFunc) {
	if hooks == nil {
		return ctx, func() {}
	}
	return interruptible(ctx)
}

// catchOthers has the other signals arrive there too. To catch one takes the Go runtime ten microseconds and more, and there
// are 64. So they are read from a file instead, in a program that was started for that.
func catchOthers(got chan os.Signal) error {
	f, err := sys.CatchSignals()
	if err != nil {
		return err
	}
	if f == nil {
		signal.Notify(got)
		return nil
	}
	go func() {
		for {
			n, err := sys.ReadSignal(f)
			if err != nil {
				return
			}
			select {
			case got <- n:
			default:
			}
		}
	}()
	return nil
}
