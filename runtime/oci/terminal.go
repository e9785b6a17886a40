package oci

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/term"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/sys"
)

// terminal connects a container's terminal to this process's. A nil one is no terminal.
type terminal struct {
	master, outer *os.File
	before        *term.State // of outer, to put back; nil if it is no terminal
	output        chan error
}

// connect copies in both directions. What is read from stdin may outlive the terminal: a read can't be taken back.
func connect(master, stdin, stdout *os.File) (_ *terminal, err error) {
	t := &terminal{master: master, outer: stdin, output: make(chan error, 1)}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	if fd := int(stdin.Fd()); term.IsTerminal(fd) {
		if t.before, err = term.MakeRaw(fd); err != nil {
			return nil, err
		}
		cu.Add(t.restore)
	}
	t.resize()
	go func() {
		// Its end is that of the input, or of the terminal; the container sees either.
		_, _ = io.Copy(master, stdin)
	}()
	go func() {
		_, err := io.Copy(stdout, master)
		if errors.Is(err, syscall.EIO) { // the last user of the slave has closed it
			err = nil
		}
		t.output <- err
	}()
	cu.Release()
	return t, nil
}

// resize passes the size on. A terminal that does not know its own leaves the container's as it is.
func (t *terminal) resize() {
	if t == nil || t.before == nil {
		return
	}
	if width, height, err := term.GetSize(int(t.outer.Fd())); err == nil && width > 0 && height > 0 {
		_ = sys.SetWinsize(t.master, uint16(width), uint16(height)) // the container may have gone
	}
}

// close waits for the rest of the output and puts the outer terminal back.
func (t *terminal) close() error {
	if t == nil {
		return nil
	}
	return errors.Join(<-t.output, t.restore())
}

func (t *terminal) restore() error {
	if t.before == nil {
		return nil
	}
	return term.Restore(int(t.outer.Fd()), t.before)
}
