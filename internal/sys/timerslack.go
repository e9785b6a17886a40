package sys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
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

// CalmMonitor lets the Go runtime's monitor (sysmon) come that much late. It sleeps for 20 µs at a time while goroutines run, and
// takes their turn from those that are in a system call for longer: work that is ready waits up to this time for that, where it
// waited up to 0.1 ms. Threads that the monitor makes for such work inherit the slack.
//
// The monitor is the first thread that a Go process makes. That its number is the next one after the process's is all that tells
// it apart; if it is another, that one's timers come late.
func CalmMonitor(late time.Duration) error {
	thread, err := firstThread()
	if err != nil {
		return fmt.Errorf("find the runtime's monitor: %w", err)
	}
	err = os.WriteFile(fmt.Sprintf("/proc/%d/timerslack_ns", thread), strconv.AppendInt(nil, late.Nanoseconds(), 10), 0)
	if errors.Is(err, fs.ErrNotExist) { // before Linux 4.6, and in a PID namespace that /proc does not show
		return nil
	}
	return err
}

// firstThread returns the thread that was made first beside the main one. Numbers go up, and begin anew after the highest.
func firstThread() (int, error) {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 0, err
	}
	const numbers = 1 << 22 // PID_MAX_LIMIT
	main := os.Getpid()
	first, least := main, numbers
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			return 0, err
		}
		if ahead := (n - main + numbers) % numbers; ahead > 0 && ahead < least {
			first, least = n, ahead
		}
	}
	return first, nil
}
