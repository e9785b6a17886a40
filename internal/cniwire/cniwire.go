// Package cniwire is what berthd and a CNI plugin of berth's say to each other when one process of the plugin serves one call after
// another, over its standard input and output. CNI itself knows one process for each call, whose start takes longer than the call.
//
// The plugin begins with [Hello]. A [Call] is what CNI gives to a plugin at its start, a [Reply] what a plugin leaves at its end. Each is
// a header of three 32-bit numbers, in the machine's byte order, and two pieces of bytes, whose lengths are bounded and stand there. The
// package has no state.
package cniwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Serve in the environment, in place of CNI's variables, has a plugin serve calls. Other plugins don't know it, and say that
// CNI_COMMAND is missing.
const Serve = "BERTH_CNI_SERVE=1"

// Hello is what a plugin that serves says first. Its number changes with anything else here.
const Hello = "berth-cni-serve 1\n"

// Bounds in bytes. Those of a call are the kernel's for an environment and more than a plugin reads.
const (
	maxEnviron = 6 << 20
	maxStdin   = 16 << 20
	maxStdout  = 4 << 20 // as much as berthd takes of a process
	MaxStderr  = 16 << 10
)

// Call is one call of a plugin.
type Call struct {
	Environ []string // "NAME=value", without NUL bytes; of two with one name the last counts
	Stdin   []byte
}

// Reply is how a call ended.
type Reply struct {
	Status         int    // exit status, 0 to 255
	Stdout, Stderr []byte // of the latter the last MaxStderr bytes at most
}

// WriteCall sends a call. One that is too large is of kind errdefs.ErrInvalid, and nothing was sent.
func WriteCall(w io.Writer, c Call) error {
	environ := strings.Join(c.Environ, "\x00")
	if len(environ) > maxEnviron || len(c.Stdin) > maxStdin {
		return errdefs.Invalid("call of a CNI plugin: an environment of %d bytes and a configuration of %d are too large", len(environ), len(c.Stdin))
	}
	return write(w, 0, []byte(environ), c.Stdin)
}

// ReadCall receives a call; io.EOF: there are no more.
func ReadCall(r io.Reader) (Call, error) {
	zero, environ, stdin, err := read(r, maxEnviron, maxStdin)
	if err == nil && zero != 0 {
		err = errdefs.Invalid("a call begins with %d", zero)
	}
	if err != nil {
		return Call{}, err
	}
	c := Call{Stdin: stdin}
	if len(environ) > 0 {
		c.Environ = strings.Split(string(environ), "\x00")
	}
	return c, nil
}

// WriteReply sends a reply. Output that is too large is of kind errdefs.ErrInvalid, and nothing was sent.
func WriteReply(w io.Writer, p Reply) error {
	if len(p.Stdout) > maxStdout {
		return errdefs.Invalid("the result has %d bytes, more than %d", len(p.Stdout), maxStdout)
	}
	return write(w, uint32(p.Status), p.Stdout, p.Stderr[max(0, len(p.Stderr)-MaxStderr):])
}

// ReadReply receives a reply; io.EOF: the plugin has ended.
func ReadReply(r io.Reader) (Reply, error) {
	status, stdout, stderr, err := read(r, maxStdout, MaxStderr)
	if err == nil && status > 255 {
		err = errdefs.Invalid("an exit status of %d", status)
	}
	return Reply{Status: int(status), Stdout: stdout, Stderr: stderr}, err
}

// ReadHello fails unless the other end serves.
func ReadHello(r io.Reader) error {
	said := make([]byte, len(Hello))
	if _, err := io.ReadFull(r, said); err != nil {
		return fmt.Errorf("read the greeting of a CNI plugin: %w", err)
	}
	if string(said) != Hello {
		return errdefs.Invalid("a CNI plugin that is to serve calls greets with %q", said)
	}
	return nil
}

const headerBytes = 12

func write(w io.Writer, number uint32, first, second []byte) error {
	frame := make([]byte, 0, headerBytes+len(first)+len(second))
	for _, n := range []uint32{number, uint32(len(first)), uint32(len(second))} {
		frame = binary.NativeEndian.AppendUint32(frame, n)
	}
	_, err := w.Write(append(append(frame, first...), second...))
	return err
}

func read(r io.Reader, maxFirst, maxSecond uint32) (number uint32, first, second []byte, err error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, nil, err // io.EOF only before the first byte
	}
	ne := binary.NativeEndian
	number, n, m := ne.Uint32(header[:]), ne.Uint32(header[4:]), ne.Uint32(header[8:])
	if n > maxFirst || m > maxSecond {
		return 0, nil, nil, errdefs.Invalid("a message has parts of %d and %d bytes, more than %d and %d", n, m, maxFirst, maxSecond)
	}
	var data bytes.Buffer // grows with what comes, whatever the header says
	if _, err := io.CopyN(&data, r, int64(n)+int64(m)); err != nil {
		return 0, nil, nil, fmt.Errorf("read a message of %d bytes: %w", n+m, noEOF(err))
	}
	return number, data.Bytes()[:n:n], data.Bytes()[n:], nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
