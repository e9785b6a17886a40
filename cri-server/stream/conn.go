package stream

import (
	"context"
	"errors"
	"net"
	"sync"
)

// watchingListener accepts connections that notice their own end.
//
// net/http stops watching a connection once a protocol has taken it over, so a request's context would outlive a client
// that died: an exec that neither reads nor writes would hold its process for hours. Both protocols keep a read pending
// all the time, and that read is what notices.
type watchingListener struct{ net.Listener }

func (l watchingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &watchedConn{Conn: c, ended: make(chan struct{})}, nil
}

// watchedConn closes ended when the client is gone or the connection was closed on this side.
type watchedConn struct {
	net.Conn
	once  sync.Once
	ended chan struct{}
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && !isTimeout(err) {
		c.end()
	}
	return n, err
}

func (c *watchedConn) Close() error {
	c.end()
	return c.Conn.Close()
}

func (c *watchedConn) end() { c.once.Do(func() { close(c.ended) }) }

// isTimeout: net/http sets deadlines in the past to get its own read back before it hands a connection over.
func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// endWithConnection is http.Server's ConnContext: it derives the context of a connection's requests.
func endWithConnection(ctx context.Context, c net.Conn) context.Context {
	conn, ok := c.(*watchedConn)
	if !ok {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-conn.ended:
		case <-ctx.Done():
		}
	}()
	return ctx
}
