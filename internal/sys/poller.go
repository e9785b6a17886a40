package sys

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Ready says what a descriptor of a [Poller] is ready for.
type Ready uint32

// The conditions. Broken is reported without being asked for: the other end of a pipe or terminal is gone.
const (
	ReadyIn  Ready = unix.EPOLLIN
	ReadyOut Ready = unix.EPOLLOUT
	Broken   Ready = unix.EPOLLERR | unix.EPOLLHUP
)

// Poller calls a function for every descriptor that becomes ready: edge-triggered, on one goroutine, without a
// goroutine or buffer per descriptor. Handlers must not block. A handler may be called once more after Remove, with
// an event that was under way.
type Poller struct {
	epoll *os.File

	mu       sync.Mutex
	handlers map[Raw]func(Ready)
}

// NewPoller returns an empty set.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // puts it into Go's own poller: no thread waits for it
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &Poller{epoll: os.NewFile(uintptr(fd), "epoll"), handlers: make(map[Raw]func(Ready))}, nil
}

// Add watches fd until Remove.
func (p *Poller) Add(fd Raw, want Ready, handler func(Ready)) error {
	p.mu.Lock()
	p.handlers[fd] = handler
	p.mu.Unlock()
	if err := p.control(unix.EPOLL_CTL_ADD, fd, want); err != nil {
		p.forget(fd)
		return err
	}
	return nil
}

// Modify changes what fd is watched for. If that is already so, the handler is called.
func (p *Poller) Modify(fd Raw, want Ready) error { return p.control(unix.EPOLL_CTL_MOD, fd, want) }

// Remove ends the watch. It comes before closing fd.
func (p *Poller) Remove(fd Raw) error {
	p.forget(fd)
	return p.control(unix.EPOLL_CTL_DEL, fd, 0)
}

func (p *Poller) forget(fd Raw) {
	p.mu.Lock()
	delete(p.handlers, fd)
	p.mu.Unlock()
}

func (p *Poller) control(op int, fd Raw, want Ready) error {
	return withFd(p.epoll, func(epoll int) error {
		return retry(func() error {
			return unix.EpollCtl(epoll, op, int(fd), &unix.EpollEvent{Events: uint32(want) | unix.EPOLLET, Fd: int32(fd)})
		})
	})
}

// Interrupt makes Run return os.ErrDeadlineExceeded once the handler that it is in has returned; news that it has not
// seen wait for the next Run.
func (p *Poller) Interrupt() error { return p.epoll.SetReadDeadline(time.Unix(1, 0)) }

// Continue makes another Run possible after Interrupt.
func (p *Poller) Continue() error { return p.epoll.SetReadDeadline(time.Time{}) }

// Run calls handlers until Close or Interrupt. It returns nil after Close.
func (p *Poller) Run() error {
	raw, err := p.epoll.SyscallConn()
	if err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		var waitErr error
		err := raw.Read(func(epoll uintptr) bool {
			waitErr = retry(func() (err error) { n, err = unix.EpollWait(int(epoll), events, 0); return err })
			return waitErr != nil || n > 0
		})
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err := errors.Join(err, waitErr); err != nil {
			return err
		}
		for _, e := range events[:n] {
			p.mu.Lock()
			handler := p.handlers[Raw(e.Fd)]
			p.mu.Unlock()
			if handler != nil {
				handler(Ready(e.Events))
			}
		}
	}
}

// Close ends Run. The descriptors in the set stay open.
func (p *Poller) Close() error { return p.epoll.Close() }
