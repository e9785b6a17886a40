package stdio

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
)

const inputBytes = 16 << 10

// input is the keeper's end of a process's input: a FIFO, or the terminal's master.
type input struct {
	fd      sys.Raw
	closing bool // ends when all clients' pending input is through
}

// inputReady is called by the poller when the process may take input again, or never will.
func (s *Stdio) inputReady(r sys.Ready) {
	s.lane.Do(func() {
		if r&sys.Broken != 0 && !s.cfg.Terminal { // the process has closed its input
			s.report(s.endInput())
			return
		}
		for _, c := range slices.Clone(s.clients) {
			s.feed(c)
		}
	})
}

// feed moves a client's input to the process until one of them stops it.
func (s *Stdio) feed(c *client) {
	b := s.shared.borrow()
	defer s.shared.giveBack(b)
	for c.in != sys.NoFile && s.in.fd != sys.NoFile {
		if len(c.pending) > 0 {
			n, err := s.in.fd.Write(c.pending)
			c.pending = c.pending[n:]
			if errors.Is(err, syscall.EAGAIN) {
				c.pending = slices.Clone(c.pending) // the buffer goes back
				return
			}
			if err != nil {
				s.report(s.endInput())
				return
			}
			continue
		}
		if s.in.closing {
			s.report(errors.Join(s.closeInput(c), s.closeStdinIfThrough()))
			return
		}
		n, err := c.in.Read(b.in[:inputBytes])
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return
		case err != nil || n == 0:
			s.report(s.inputEnded(c))
			return
		}
		c.pending = b.in[:n]
	}
	s.report(s.closeInput(c))
}

// inputEnded is called when a client has no more input.
func (s *Stdio) inputEnded(c *client) error {
	err := s.closeInput(c)
	if s.cfg.Once && !s.cfg.Terminal { // a terminal can't be closed without hanging up
		s.in.closing = true
		err = errors.Join(err, s.closeStdinIfThrough())
	}
	return err
}

// CloseStdin ends the process's input after what clients have sent so far.
func (s *Stdio) CloseStdin() error {
	return s.lane.Wait(func() error {
		if s.cfg.Terminal {
			return nil
		}
		s.in.closing = true
		return s.closeStdinIfThrough()
	})
}

func (s *Stdio) closeStdinIfThrough() error {
	for _, c := range s.clients {
		if len(c.pending) > 0 {
			return nil
		}
	}
	return s.endInput()
}

// endInput closes the process's input for good and the clients' ends, so that they notice. The FIFO's name goes, so that a
// successor, or who holds the FIFO for one, does not open it again.
func (s *Stdio) endInput() error {
	errs := []error{s.closeStdin()}
	if err := os.Remove(s.cfg.Dir + "/" + StdinName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	s.shared.InputEnded(s.cfg.ID)
	for _, c := range slices.Clone(s.clients) {
		errs = append(errs, s.closeInput(c))
	}
	return errors.Join(errs...)
}

// closeStdin closes the FIFO's end. A terminal's master is closed as its output.
func (s *Stdio) closeStdin() error {
	fd := s.in.fd
	s.in.fd = sys.NoFile
	if fd == sys.NoFile || s.cfg.Terminal {
		return nil
	}
	return errors.Join(s.unwatch(fd), fd.Close())
}
