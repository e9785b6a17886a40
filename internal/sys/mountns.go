package sys

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// InMountNamespace runs f in a thread with a mount namespace of its own, a copy of this process's that nothing leads out of.
// What f attaches ends with it; what it opens stays. f must not start goroutines that rely on the namespace.
func InMountNamespace(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread can't end: the process would stay in the new namespace for everybody who looks at it.
			done <- InMountNamespace(f) // gets another one, as this goroutine holds the main thread
			runtime.UnlockOSThread()
			return
		}
		done <- unsharedMounts(f) // still locked, so the thread ends here and the namespace with it
	}()
	return <-done
}

func unsharedMounts(f func() error) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cut the mount namespace off: %w", err)
	}
	return f()
}
