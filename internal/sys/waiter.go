package sys

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Waiter waits for any of several file descriptors, also those that Go's poller can't take itself: pidfds, and the
// event files of kernfs (cgroup.events), which are readable at all times and signal news by POLLPRI. It is an epoll set
// inside Go's own, so a waiting goroutine holds no thread. One goroutine at a time.
type Waiter struct {
	epoll *os.File
}

// NewWaiter returns an empty set.
func NewWaiter() (*Waiter, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // tells os.NewFile to use the poller
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &Waiter{epoll: os.NewFile(uintptr(fd), "epoll")}, nil
}

// AddReadable waits for f to become readable; for a pidfd that is the process's end. f must stay open until the
// Waiter is closed.
func (w *Waiter) AddReadable(f *os.File) error { return w.add(f, unix.EPOLLIN) }

// AddPriority waits for POLLPRI on f: for a file of kernfs, for a change since it was last read.
func (w *Waiter) AddPriority(f *os.File) error { return w.add(f, unix.EPOLLPRI) }

func (w *Waiter) add(f *os.File, events uint32) error {
	return withFd(w.epoll, func(epoll int) error {
		return withFd(f, func(fd int) error {
			return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
		})
	})
}

// Remove takes a file out of the set.
func (w *Waiter) Remove(f *os.File) error {
	return withFd(w.epoll, func(epoll int) error {
		return withFd(f, func(fd int) error { return unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, fd, nil) })
	})
}

// Wait returns when one of the files is ready, or with the context's error.
func (w *Waiter) Wait(ctx context.Context) error {
	for {
		err := w.wait(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) { // else the deadline of an earlier, cancelled Wait came late
			return err
		}
	}
}

func (w *Waiter) wait(ctx context.Context) error {
	if err := w.epoll.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		// A deadline in the past ends the wait below. It fails only on a closed file, where nobody waits.
		_ = w.epoll.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		return err
	}
	var waitErr error
	err = raw.Read(func(fd uintptr) bool {
		var ready int
		waitErr = retry(func() (err error) { ready, err = unix.EpollWait(int(fd), make([]unix.EpollEvent, 1), 0); return err })
		return waitErr != nil || ready > 0
	})
	return errors.Join(waitErr, err)
}

// Close releases the set, not the files in it.
func (w *Waiter) Close() error { return w.epoll.Close() }
