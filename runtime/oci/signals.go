package oci

import (
	"os"
	"os/signal"
	"syscall"

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
