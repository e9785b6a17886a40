package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// retry repeats a call that a signal interrupted (the Go runtime's own preemption signals do that).
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
