package oci

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
)

// maxSignals is how many signals may wait to be passed on; more are dropped.
const maxSignals = 128

// catchSignals returns where the signals arrive that this process gets from now on, for the rest of its life. To catch one
// takes the Go runtime ten microseconds and more, and there are 64. So most of them are read from a file instead, in a
// program that was started for that.
func catchSignals() (<-chan os.Signal, error) {
	got := make(chan os.Signal, maxSignals)
	f, err := sys.CatchSignals()
	if err != nil {
		return nil, err
	}
	if f == nil {
		signal.Notify(got)
		return got, nil
	}
	signal.Notify(got, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
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
	return got, nil
}
