package sys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Inotify tells that something happened in folders, see inotify(7). It is for one goroutine.
type Inotify struct {
	f   *os.File
	buf []byte
}

// NewInotify returns one that watches nothing yet.
func NewInotify() (*Inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	return &Inotify{f: os.NewFile(uintptr(fd), "inotify"), buf: make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))}, nil
}

// WatchDir watches what appears, disappears and changes in a folder, and its files' contents.
func (i *Inotify) WatchDir(dir string) error {
	conn, err := i.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	const mask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVE | unix.IN_MODIFY | unix.IN_DELETE_SELF | unix.IN_ONLYDIR
	var watchErr error
	err = conn.Control(func(fd uintptr) { _, watchErr = unix.InotifyAddWatch(int(fd), dir, mask) })
	if err := errors.Join(err, watchErr); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	return nil
}

// Wait returns when something happened since the last call, or when ctx has ended. What it was is not said: events can be
// lost and merged, so the caller has to look anyway.
func (i *Inotify) Wait(ctx context.Context) error {
	if err := i.f.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("wait for inotify: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = i.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := i.f.Read(i.buf)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("wait for inotify: %w", err)
	}
	return nil
}

// Close ends all watches.
func (i *Inotify) Close() error { return i.f.Close() }
