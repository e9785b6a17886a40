package pod

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// output copies what a process writes to a pipe or terminal, until the end of that, or until the process has ended and the
// pipe holds nothing more: a child in the background may keep the other end open for good.
type output struct {
	from *os.File
	to   io.Writer
	buf  []byte // the copying goroutine's until done is closed
	done chan struct{}
}

// Sizes of an output's buffer: most commands that probes run say little or nothing, and larger ones are garbage soon after.
const (
	firstBuffer = 512
	fullBuffer  = 32 << 10
)

// copyOutput starts to copy. from stays the caller's.
func copyOutput(from *os.File, to io.Writer) *output {
	o := &output{from: from, to: to, buf: make([]byte, firstBuffer), done: make(chan struct{})}
	go func() {
		defer close(o.done)
		// What ends it is the end of the stream, or finish; a receiver that is gone must not stop the process.
		if err := o.copy(); err != nil {
			_, _ = io.Copy(io.Discard, from)
		}
	}()
	return o
}

// copy returns an error of the receiver's.
func (o *output) copy() error {
	for {
		n, err := o.from.Read(o.buf)
		if n > 0 {
			if _, err := o.to.Write(o.buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			//lint:ignore nilerr the end, or that of the time to wait for it
			return nil
		}
		o.grow(n)
	}
}

// grow makes room for more than was read at once.
func (o *output) grow(read int) {
	if read == len(o.buf) && read < fullBuffer {
		o.buf = make([]byte, fullBuffer)
	}
}

// finish is called when the process has ended. It takes what is in the pipe at that moment, at most a pipe full, and
// returns when that is handed on.
func (o *output) finish() error {
	if err := o.from.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	<-o.done
	if err := o.from.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return o.takeRest()
}

// maxPipe is the largest pipe that a process without privileges can make (fs.pipe-max-size).
const maxPipe = 1 << 20

func (o *output) takeRest() error {
	raw, err := o.from.SyscallConn()
	if err != nil {
		return err
	}
	for total := 0; total < maxPipe; {
		var n int
		var readErr error
		err := raw.Read(func(fd uintptr) bool {
			n, readErr = syscall.Read(int(fd), o.buf)
			return true // whatever it says: nothing is waited for
		})
		if err != nil {
			return err
		}
		if errors.Is(readErr, syscall.EINTR) {
			continue
		}
		if readErr != nil || n <= 0 {
			//lint:ignore nilerr EAGAIN: it is empty; EIO: a terminal that nobody has open
			return nil
		}
		if _, err := o.to.Write(o.buf[:n]); err != nil {
			//lint:ignore nilerr the receiver is gone, which is no fault of the process
			return nil
		}
		total += n
		o.grow(n)
	}
	return nil
}

// limited keeps the first bytes that are written to it and swallows the rest.
type limited struct {
	data  []byte
	limit int
}

func (l *limited) Write(p []byte) (int, error) {
	if room := l.limit - len(l.data); room > 0 {
		l.data = append(l.data, p[:min(room, len(p))]...)
	}
	return len(p), nil
}
