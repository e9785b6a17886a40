package keeper

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

const (
	maxRequests = 256   // at once, on one connection
	maxEvents   = 65536 // waiting for one connection
)

// conn is a connection of a berthd.
type conn struct {
	server   *server
	conn     *wire.Conn
	close    func() error
	requests chan struct{} // one element for each request under way
	wake     chan struct{}
	done     chan struct{} // closed when nothing is received any more

	receiving gate
	sending   gate // of events

	mu     sync.Mutex
	events []wire.Message
	owed   uint32 // number of the request for an upgrade
}

func newConn(s *server, socket *sys.Seqpacket) *conn {
	w := wire.NewConn(socket, &s.buffers)
	return &conn{
		server: s, conn: w, close: sync.OnceValue(w.Close),
		requests: make(chan struct{}, maxRequests), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// serve handles requests until the connection ends.
func (c *conn) serve() {
	go c.sendEvents()
	var err error
	for err == nil {
		err = c.conn.Receive(c.dispatch)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.receiving.pass()
			err = nil
		}
	}
	close(c.done)
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
		err = nil
	}
	c.server.drop(c)
	if err := errors.Join(err, c.conn.Drop(), c.close()); err != nil {
		c.server.logger.Warn("connection ended", "error", err)
	}
}

func (s *server) drop(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// dispatch starts to handle one request. It waits while too many are under way, and so does who sends them.
func (c *conn) dispatch(m wire.Message) error {
	if m.Type == wire.TypeUpgrade && m.Err == nil && c.server.upgrading.CompareAndSwap(false, true) {
		go c.upgrade(m)
		return nil
	}
	handle, err := handler(nil), m.Err
	if err == nil {
		handle, err = c.server.decode(m)
	}
	if err != nil {
		// The number is right, so the sender can be told; its other requests are fine.
		err = errors.Join(err, sys.CloseRaw(m.Files))
		handle = func() ([]byte, []sys.Raw, error) { return nil, nil, err }
	}
	number := m.Number
	c.requests <- struct{}{}
	c.server.begin()
	go func() {
		c.reply(number, handle)
		<-c.requests
		c.server.end()
		c.server.idle.touch()
	}()
	return nil
}

func (c *conn) reply(number uint32, handle handler) {
	result, files, err := handle()
	m := wire.Message{Type: wire.TypeReply, Number: number, Payload: wire.EncodeReply(result, err), Files: files}
	if err := errors.Join(c.conn.Send(m), sys.CloseRaw(files)); err != nil {
		c.server.logger.Warn("reply was not delivered", "error", err)
	}
}

// push queues a message without a number. A connection that never reads them is closed: it can list processes after its return.
func (c *conn) push(m wire.Message) error {
	c.mu.Lock()
	c.events = append(c.events, m)
	full := len(c.events) > maxEvents
	c.mu.Unlock()
	if full {
		return errors.Join(errdefs.New(errdefs.ErrExhausted, "%d events wait on a connection", maxEvents), c.close())
	}
	c.wakeUp()
	return nil
}

func (c *conn) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *conn) takeEvents() []wire.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.events
	c.events = nil
	return list
}

// putBack returns events that were not sent.
func (c *conn) putBack(list []wire.Message) {
	c.mu.Lock()
	c.events = append(list, c.events...)
	c.mu.Unlock()
	c.wakeUp()
}

func (c *conn) sendEvents() {
	for {
		c.sending.pass()
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		list := c.takeEvents()
		for i, m := range list {
			err := c.conn.Send(m)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.putBack(list[i:])
				break
			}
			if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) { // its client has gone
				return
			}
			if err != nil {
				c.server.logger.Warn("event was not delivered", "error", err)
				return
			}
		}
	}
}
