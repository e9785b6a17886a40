package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// SignalNumber returns the signal with a name such as "SIGTERM", 0 for an unknown one.
func SignalNumber(name string) syscall.Signal { return unix.SignalNum(name) }

// BecomeSubreaper makes this process the parent of what its children leave behind (PR_SET_CHILD_SUBREAPER, Linux 3.4).
func BecomeSubreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }
