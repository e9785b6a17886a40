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
	done chan struct{}
}

// copyOutput starts to copy. from stays the caller's.
func copyOutput(from *os.File, to io.Writer) *output {
	o := &output{from: from, to: to, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		// What ends it is the end of the stream, or finish; a receiver that is gone must not stop the process.
		if _, err := io.Copy(to, from); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			_, _ = io.Copy(io.Discard, from)
		}
	}()
	return o
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
	buf := make([]byte, 64<<10)
	for total := 0; total < maxPipe; {
		var n int
		var readErr error
		err := raw.Read(func(fd uintptr) bool {
			n, readErr = syscall.Read(int(fd), buf)
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
		if _, err := o.to.Write(buf[:n]); err != nil {
			//lint:ignore nilerr the receiver is gone, which is no fault of the process
			return nil
		}
		total += n
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
