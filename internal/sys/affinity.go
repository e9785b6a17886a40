package sys

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// OnOneCPU calls f in a thread that stays on one CPU, the last of those that it may run on: threads that all do so share it
// (sched_setaffinity(2)). Afterwards the thread may run where it could before.
func OnOneCPU(f func() error) (err error) {
	runtime.LockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	for left, cpu := before.Count(), 0; left > 0; cpu++ {
		if before.IsSet(cpu) {
			one.Zero()
			one.Set(cpu)
			left--
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = f()
	if back := unix.SchedSetaffinity(0, &before); back != nil {
		return errors.Join(err, back) // still locked: the thread ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}
