package oci

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
)

// process returns a pidfd of the container's first process, nil if that has ended, reaped or not.
func (c *container) process() (_ *os.File, err error) {
	if c.rec.PID == 0 {
		return nil, nil
	}
	pidfd, err := sys.PidfdOpen(c.rec.PID)
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", c.rec.PID, err)
	}
	// What is read now is of the process behind the pidfd, or of a later one, which the start time tells.
	stat, err := sys.ReadProcStat(c.rec.PID)
	if err == nil && !stat.Ended() && stat.StartTime == c.rec.StartTime {
		return pidfd, nil
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		err = nil
	}
	return nil, errors.Join(err, pidfd.Close())
}

// status asks the kernel. The pidfd is nil if the container is stopped, else the caller's.
func (c *container) status() (_ Status, _ *os.File, err error) {
	pidfd, err := c.process()
	if err != nil {
		return "", nil, err
	}
	if pidfd == nil {
		if !c.rec.Ready && c.beingMade() {
			return StatusCreating, nil, nil
		}
		return StatusStopped, nil, nil
	}
	s, err := c.alive()
	if err != nil {
		return "", nil, errors.Join(err, pidfd.Close())
	}
	return s, pidfd, nil
}

func (c *container) alive() (Status, error) {
	if !c.rec.Ready {
		return StatusCreating, nil
	}
	if c.waits() {
		return StatusCreated, nil
	}
	frozen, err := c.frozen()
	if frozen {
		return StatusPaused, err
	}
	return StatusRunning, err
}

// waits tells whether the process has the FIFO open still, as it has until its execve.
func (c *container) waits() bool {
	fd, err := syscall.Open(c.file(startFile), syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	return syscall.Close(fd) == nil
}

// beingMade tells whether somebody holds the lock.
func (c *container) beingMade() bool {
	d, err := sys.OpenDir(c.dir)
	if err != nil {
		return false
	}
	busy := errors.Is(d.Lock(), syscall.EWOULDBLOCK)
	return d.Close() == nil && busy
}
