package netns

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// inThread runs f in a goroutine that is locked to a thread other than the main one. f unlocks the thread when its namespaces
// are as before; otherwise the thread ends with the goroutine.
//
// The main thread is avoided because it can't end: Go parks it for ever, and /proc/self, which is the main thread's view,
// would show the pod's namespaces to everything that reads it, inside the process and out.
func inThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- f()
			return
		}
		done <- inThread(f) // this goroutine holds the main thread meanwhile, so the next gets another
		runtime.UnlockOSThread()
	}()
	return <-done
}
