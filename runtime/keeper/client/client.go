package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/mailbox"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/wire"
)

// Client is a connection to the keeper.
type Client struct {
	conn   *wire.Conn
	events *mailbox.Box[Event]
	done   chan struct{} // closed when the connection is lost

	mu      sync.Mutex
	number  uint32
	waiting map[uint32]chan<- reply // nil when the connection is lost
	lost    error
	holds   *Holds // or nil
}

type reply struct {
	result []byte
	files  []sys.Raw
	err    error
}

// Dial connects to the keeper at socket. Kinds of errors: errdefs.ErrUnavailable if none answers there,
// errdefs.ErrNotSupported if it speaks another version of the protocol.
func Dial(ctx context.Context, socket string) (*Client, error) {
	c, err := connect(ctx, socket)
	if err != nil {
		return nil, err
	}
	// The answer also says that the keeper knows this connection, so that no event from now on is missed.
	if err := c.simple(ctx, wire.TypeHello, wire.EncodeHello(wire.Version), nil); err != nil {
		return nil, errors.Join(fmt.Errorf("greet the keeper on %s: %w", socket, err), c.Close())
	}
	return c, nil
}

// connect is Dial without a greeting.
func connect(ctx context.Context, socket string) (*Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := sys.DialSeqpacket(socket)
	if err != nil {
		return nil, errdefs.Unavailable("connect to the keeper on %s: %w", socket, err)
	}
	c := &Client{
		conn:    wire.NewConn(s, &sync.Pool{}),
		events:  mailbox.New[Event](),
		done:    make(chan struct{}),
		waiting: make(map[uint32]chan<- reply),
	}
	go c.receive()
	return c, nil
}

// Close ends the connection, not the keeper. Calls under way return an error.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.done
	return err
}

// Keep makes the connection maintain h: processes that it starts with FIFOs are added, those that it forgets are dropped, and
// inputs end when the keeper says so. It is called once, before Start and after a former connection of h is closed.
func (c *Client) Keep(h *Holds) error {
	c.mu.Lock()
	c.holds = h
	c.mu.Unlock()
	return h.sync()
}

func (c *Client) kept() *Holds {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holds
}

// Events returns the ends of processes, from the connection's beginning on; for what was before, see [Client.List].
// An event can overtake the return of the Start that it belongs to. The channel is closed when the connection is lost.
func (c *Client) Events() <-chan Event { return c.events.Out() }

// receive hands replies and events to those who wait for them.
func (c *Client) receive() {
	var err error
	for err == nil {
		err = c.conn.Receive(c.dispatch)
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it has ended")
	}
	c.mu.Lock()
	waiting := c.waiting
	c.waiting = nil
	c.lost = errdefs.Unavailable("%w: %w", ErrLost, errors.Join(err, c.conn.Drop()))
	c.mu.Unlock()
	for _, w := range waiting {
		w <- reply{err: c.lost}
	}
	// What nobody has read by now is in the keeper's list.
	c.events.Close()
	close(c.done)
	// The socket is broken or was closed by Close, which reports its own error.
	_ = c.conn.Close()
}

func (c *Client) dispatch(m wire.Message) error {
	if m.Err != nil && m.Type != wire.TypeReply {
		return m.Err
	}
	switch m.Type {
	case wire.TypeEvent:
		e, err := wire.DecodeEvent(m.Payload)
		if err := errors.Join(err, sys.CloseRaw(m.Files)); err != nil {
			return err
		}
		c.events.Put(e)
		return nil
	case wire.TypeInputEnd:
		return c.inputEnd(m)
	case wire.TypeReply:
		return c.answer(m)
	default:
		return errors.Join(errdefs.Invalid("message of type %d from the keeper", m.Type), sys.CloseRaw(m.Files))
	}
}

func (c *Client) inputEnd(m wire.Message) error {
	id, err := wire.DecodeName(m.Payload)
	if h := c.kept(); h != nil && err == nil {
		err = h.endInput(id)
	}
	return errors.Join(err, sys.CloseRaw(m.Files))
}

func (c *Client) answer(m wire.Message) error {
	result, err := []byte(nil), m.Err
	if err == nil {
		result, err = wire.DecodeReply(m.Payload)
	}
	c.mu.Lock()
	w := c.waiting[m.Number]
	delete(c.waiting, m.Number)
	c.mu.Unlock()
	if w == nil { // the caller's context has ended
		return sys.CloseRaw(m.Files)
	}
	w <- reply{append([]byte(nil), result...), m.Files, err}
	return nil
}

// ErrLost is of requests that were under way when the keeper's end of the connection went away: they may have been done.
// ErrNotSent is of those that were not sent at all.
var (
	ErrLost    = errors.New("connection to the keeper is lost")
	ErrNotSent = errors.New("the keeper is gone")
)

// isLost tells whether a message could not be sent since nobody is there to receive it; the connection closes itself then.
func isLost(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ENOTCONN)
}

// call sends a request and waits for its reply. If ctx ends first the request goes on in the keeper.
func (c *Client) call(ctx context.Context, t wire.Type, payload []byte, files []sys.Raw) (reply, error) {
	if err := ctx.Err(); err != nil {
		return reply{}, err
	}
	ch := make(chan reply, 1)
	number, err := c.register(ch)
	if err != nil {
		return reply{}, err
	}
	if err := c.conn.Send(wire.Message{Type: t, Number: number, Payload: payload, Files: files}); err != nil {
		c.unregister(number)
		if isLost(err) {
			err = fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		return reply{}, errdefs.Unavailable("ask the keeper: %w", err)
	}
	select {
	case r := <-ch:
		return r, r.err
	case <-ctx.Done():
		if !c.unregister(number) {
			r := <-ch
			return r, r.err
		}
		return reply{}, ctx.Err()
	}
}

func (c *Client) register(ch chan<- reply) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		return 0, fmt.Errorf("%w: %w", ErrNotSent, c.lost)
	}
	for {
		c.number++
		if c.number == math.MaxUint32 {
			c.number = 1
		}
		if _, taken := c.waiting[c.number]; !taken {
			c.waiting[c.number] = ch
			return c.number, nil
		}
	}
}

// unregister reports whether the reply had not come yet.
func (c *Client) unregister(number uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, waiting := c.waiting[number]
	delete(c.waiting, number)
	return waiting
}

// simple is a call whose reply is only an error.
func (c *Client) simple(ctx context.Context, t wire.Type, payload []byte, files []sys.Raw) error {
	r, err := c.call(ctx, t, payload, files)
	return errors.Join(err, sys.CloseRaw(r.files))
}

// borrow duplicates files for the time of a call, so that one that is closed meanwhile can't become another.
func borrow(files ...*os.File) (_ []sys.Raw, err error) {
	var raws []sys.Raw
	for _, f := range files {
		if f == nil {
			continue
		}
		r, err := sys.RawDup(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("pass file %s: %w", f.Name(), err), sys.CloseRaw(raws))
		}
		raws = append(raws, r)
	}
	return raws, nil
}
