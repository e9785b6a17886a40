package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/netns"
)

// Both ends of the traffic are threads that block in system calls, so that as little as possible is measured beside the kernel's network. They
// share one CPU: where the scheduler puts them makes more of a difference, up to 1.8 times, than what is to be measured, and it changes.

const block = 256 << 10 // bytes of a read or write

// serveTCP answers, one after the other, who connects to a port of a namespace: it reads to the end, sends one byte and closes. stop ends it.
func serveTCP(h *netns.Handle, port int) (stop func() error, err error) {
	ready, done := make(chan int, 1), make(chan error, 1)
	go func() {
		done <- h.Do(func() error {
			fd, err := listen(port)
			if err != nil {
				return err
			}
			ready <- fd
			return errors.Join(sys.OnOneCPU(func() error { return acceptAll(fd) }), syscall.Close(fd))
		})
	}()
	select {
	case fd := <-ready:
		return func() error { return errors.Join(syscall.Shutdown(fd, syscall.SHUT_RDWR), <-done) }, nil
	case err := <-done:
		return nil, fmt.Errorf("serve port %d: %w", port, err)
	}
}

func listen(port int) (fd int, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Port: port}), syscall.Listen(fd, 128)); err != nil {
		return 0, errors.Join(err, syscall.Close(fd))
	}
	return fd, nil
}

// acceptAll serves until the socket is shut down.
func acceptAll(fd int) error {
	buf := make([]byte, block)
	for {
		c, _, err := syscall.Accept4(fd, syscall.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, syscall.EINVAL):
			return nil
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return err
		}
		if err := errors.Join(answer(c, buf), syscall.Close(c)); err != nil {
			return err
		}
	}
}

func answer(fd int, buf []byte) error {
	for {
		n, err := syscall.Read(fd, buf)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			_, writeErr := syscall.Write(fd, buf[:1])
			return errors.Join(err, writeErr)
		}
	}
}

// converse connects that many times from a namespace, one after the other, and each time sends that many bytes and waits for the answer.
func converse(h *netns.Handle, to netip.AddrPort, times, bytes int) (e effort, err error) {
	buf := make([]byte, min(bytes, block))
	err = h.Do(func() error {
		return sys.OnOneCPU(func() error {
			began, before := time.Now(), cpuTime()
			for range times {
				if err := talk(to, buf, bytes); err != nil {
					return fmt.Errorf("talk to %s: %w", to, err)
				}
			}
			e = effort{took: time.Since(began), cpu: cpuTime() - before}
			return nil
		})
	})
	return e, err
}

// cpuTime is what all threads of this process have used, the kernel's work for them included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func talk(to netip.AddrPort, buf []byte, bytes int) (err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.Close(fd)) }()
	// Close resets the connection: many that end in TIME_WAIT would use up ports.
	if err := syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1}); err != nil {
		return err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return err
	}
	for bytes > 0 {
		n, err := syscall.Write(fd, buf[:min(len(buf), bytes)])
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		bytes -= max(n, 0)
	}
	if err := syscall.Shutdown(fd, syscall.SHUT_WR); err != nil {
		return err
	}
	n, err := syscall.Read(fd, buf[:1])
	if err == nil && n != 1 {
		err = io.ErrUnexpectedEOF
	}
	return err
}
