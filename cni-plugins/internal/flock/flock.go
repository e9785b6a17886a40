// Package flock lets processes that change the same state wait for each other, by flock(2): the kernel drops a lock with the process
// that holds it.
package flock

import (
	"errors"
	"os"
	"syscall"
)

// Wait takes an exclusive lock on the file and waits for it. Closing the file drops the lock.
func Wait(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// Open opens a file or folder and waits for its lock. Closing the result drops the lock.
func Open(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := Wait(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
