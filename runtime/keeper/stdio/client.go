package stdio

import (
	"errors"
	"slices"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/logs"
)

const (
	maxClients = 64
	maxQueue   = 1 << 20 // bytes that wait for one stream of one client

	// maxFirstQueue is for the first client, which is waited for: more than a chunk waits for it only once the process has
	// ended, and then what is left in a pipe of the largest size (drainTurns).
	maxFirstQueue = 2 * maxQueue
)

// client is someone attached to a process. It belongs to the lane.
type client struct {
	in      sys.Raw
	pending []byte // read from in, not yet taken by the process
	out     [2]sink
	first   bool // it was there before the process: see [Stdio.AttachFirst]
}

// sink is a client's end of one output stream.
type sink struct {
	fd    sys.Raw
	queue []byte
}

// Attach connects files, each of which may be sys.NoFile, to the process. They are owned from now on.
func (s *Stdio) Attach(in, out, err sys.Raw) error {
	return s.attach(&client{in: in, out: [2]sink{{fd: out}, {fd: err}}})
}

// AttachFirst does it before there is a process, so that the client gets all output from the first byte on. As the end of
// a pipeline would, this client holds up the process when it does not read; others never do.
func (s *Stdio) AttachFirst(in, out, err sys.Raw) error {
	return s.attach(&client{in: in, out: [2]sink{{fd: out}, {fd: err}}, first: true})
}

func (s *Stdio) attach(c *client) error {
	return s.lane.Wait(func() error {
		if problem := s.attachable(); problem != nil {
			return errors.Join(problem, sys.CloseRaw([]sys.Raw{c.in, c.out[0].fd, c.out[1].fd}))
		}
		s.clients = append(s.clients, c)
		if problem := s.watchClient(c); problem != nil {
			return errors.Join(problem, s.closeClient(c))
		}
		return nil
	})
}

func (s *Stdio) attachable() error {
	if s.finished {
		return errdefs.FailedPrecondition("attach to %s: the process has ended", s.cfg.ID)
	}
	if len(s.clients) >= maxClients {
		return errdefs.New(errdefs.ErrExhausted, "attach to %s: %d clients are attached already", s.cfg.ID, maxClients)
	}
	return nil
}

func (s *Stdio) watchClient(c *client) error {
	for i := range c.out {
		k := &c.out[i]
		if k.fd == sys.NoFile {
			continue
		}
		if err := k.fd.SetNonblock(true); err != nil {
			return err
		}
		err := s.shared.Poller.Add(k.fd, sys.ReadyOut, func(r sys.Ready) { s.lane.Do(func() { s.sinkReady(c, k, r) }) })
		if err != nil {
			return err
		}
	}
	if c.in == sys.NoFile {
		return nil
	}
	if s.in.fd == sys.NoFile { // the process has no input, or its input has ended
		return s.closeInput(c)
	}
	if err := c.in.SetNonblock(true); err != nil {
		return err
	}
	return s.shared.Poller.Add(c.in, sys.ReadyIn, func(sys.Ready) { s.lane.Do(func() { s.feed(c) }) })
}

// fanOut gives new output to the clients.
func (s *Stdio) fanOut(o *output, data []byte) {
	if len(data) == 0 || len(s.clients) == 0 {
		return
	}
	i := 0
	if o.stream == logs.Stderr {
		i = 1
	}
	for _, c := range slices.Clone(s.clients) {
		s.report(s.send(c, &c.out[i], data))
	}
}

// send writes to a client, or queues what it does not take now.
func (s *Stdio) send(c *client, k *sink, data []byte) error {
	if k.fd == sys.NoFile {
		return nil
	}
	if len(k.queue) == 0 {
		n, err := k.fd.Write(data)
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			return s.closeSink(c, k) // the client has gone
		}
		data = data[n:]
	}
	limit := maxQueue
	if c.first {
		limit = maxFirstQueue
	}
	if len(k.queue)+len(data) <= limit {
		k.queue = append(k.queue, data...)
		return nil
	}
	if s.cfg.Terminal {
		return nil // a screen that can't keep up misses something
	}
	s.shared.Logger.Warn("attached client reads too slowly and is cut off", "process", s.cfg.ID)
	return s.closeSink(c, k)
}

// sinkReady goes on where send had to stop.
func (s *Stdio) sinkReady(c *client, k *sink, r sys.Ready) {
	if k.fd == sys.NoFile {
		return
	}
	if r&sys.Broken != 0 {
		s.report(s.closeSink(c, k))
		return
	}
	if len(k.queue) == 0 {
		return
	}
	n, err := k.fd.Write(k.queue)
	k.queue = k.queue[n:]
	switch {
	case errors.Is(err, syscall.EAGAIN):
	case err != nil:
		s.report(s.closeSink(c, k))
	case len(k.queue) > 0:
		s.lane.Do(func() { s.sinkReady(c, k, sys.ReadyOut) })
	default:
		k.queue = nil
		if s.finished {
			s.report(s.closeSink(c, k))
			return
		}
		s.release(c)
	}
}

// heldUp says whether output must wait for the first client to take what it was given.
func (s *Stdio) heldUp() bool {
	for _, c := range s.clients {
		if c.first && (len(c.out[0].queue) > 0 || len(c.out[1].queue) > 0) {
			return true
		}
	}
	return false
}

// release goes on with output that a client may have held up.
func (s *Stdio) release(c *client) {
	if !c.first || s.finished {
		return
	}
	for i := range s.out {
		s.schedule(&s.out[i])
	}
}

func (s *Stdio) closeSink(c *client, k *sink) error {
	if k.fd == sys.NoFile {
		return nil
	}
	err := errors.Join(s.unwatch(k.fd), k.fd.Close())
	k.fd, k.queue = sys.NoFile, nil
	s.release(c)
	s.forgetIfDone(c)
	return err
}

func (s *Stdio) closeInput(c *client) error {
	if c.in == sys.NoFile {
		return nil
	}
	err := errors.Join(s.unwatch(c.in), c.in.Close())
	c.in, c.pending = sys.NoFile, nil
	s.forgetIfDone(c)
	return err
}

func (s *Stdio) closeClient(c *client) error {
	return errors.Join(s.closeInput(c), s.closeSink(c, &c.out[0]), s.closeSink(c, &c.out[1]))
}

func (s *Stdio) closeClients() error {
	var errs []error
	for _, c := range slices.Clone(s.clients) {
		errs = append(errs, s.closeClient(c))
	}
	return errors.Join(errs...)
}

func (s *Stdio) forgetIfDone(c *client) {
	if c.in == sys.NoFile && c.out[0].fd == sys.NoFile && c.out[1].fd == sys.NoFile {
		s.clients = slices.DeleteFunc(s.clients, func(other *client) bool { return other == c })
	}
}

func (s *Stdio) report(err error) {
	if err != nil {
		s.shared.Logger.Error("attached client", "process", s.cfg.ID, "error", err)
	}
}
