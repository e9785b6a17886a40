package oci

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/sys"
)

// maxHookOutput bounds what is kept of a hook's output, for an error to repeat.
const maxHookOutput = 4096

// hookOutput takes what a hook writes: all of it, so that the hook never waits, and keeps the beginning.
type hookOutput struct {
	r, w *os.File // w is the hook's
	kept []byte
	done chan struct{} // closed when nobody writes to kept any more
}

func newHookOutput() (*hookOutput, error) {
	r, w, err := sys.RawPipe()
	if err != nil {
		return nil, err
	}
	err = syscall.SetNonblock(int(w), false) // as programs expect
	o := &hookOutput{r: r.File("hook's output"), w: w.File("hook's output"), done: make(chan struct{})}
	if err != nil {
		return nil, errors.Join(err, o.r.Close(), o.w.Close())
	}
	go o.read()
	return o, nil
}

func (o *hookOutput) read() {
	defer close(o.done)
	buf := make([]byte, 32<<10)
	for {
		n, err := o.r.Read(buf)
		o.keep(buf[:n])
		if err != nil { // the last writer is gone, or the hook is, and end does not wait for what it left behind
			return
		}
	}
}

func (o *hookOutput) keep(data []byte) {
	o.kept = append(o.kept, data[:min(len(data), maxHookOutput-len(o.kept))]...)
}

// end closes the pipe and adds what was kept to the error of a hook that has ended. A program that the hook has left running may
// have the pipe open still.
func (o *hookOutput) end(err error) error {
	err = errors.Join(err, o.w.Close(), o.r.SetReadDeadline(time.Now()))
	<-o.done
	err = errors.Join(err, o.rest(), o.r.Close())
	if text := bytes.TrimSpace(o.kept); err != nil && len(text) > 0 {
		return errorWithOutput{err, string(text)}
	}
	return err
}

// rest reads what is in the pipe without waiting for more.
func (o *hookOutput) rest() error {
	c, err := o.r.SyscallConn()
	if err != nil {
		return err
	}
	return c.Control(func(fd uintptr) {
		buf := make([]byte, maxHookOutput)
		for len(o.kept) < maxHookOutput {
			n, err := syscall.Read(int(fd), buf)
			if n <= 0 || err != nil {
				return
			}
			o.keep(buf[:n])
		}
	})
}

// errorWithOutput is an error with what its program said.
type errorWithOutput struct {
	err  error
	text string
}

func (e errorWithOutput) Error() string { return e.err.Error() + ": " + e.text }
func (e errorWithOutput) Unwrap() error { return e.err }
