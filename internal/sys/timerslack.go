package sys

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// WithTimerSlack calls f in a thread whose timeouts may come that much late, as may those of the processes that f starts
// (PR_SET_TIMERSLACK). It is a matter of speed alone: where the kernel does not allow it, f is called all the same.
func WithTimerSlack(late time.Duration, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(late.Nanoseconds()), 0, 0, 0) == nil {
		defer func() {
			_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // what the thread began with; allowed once, allowed again
		}()
	}
	return f()
}
