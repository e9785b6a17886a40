package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Conn is a TCP connection, whose two directions end on their own.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// PortForward connects a stream to a port on loopback inside the pod, and returns when both directions have ended, or when
// ctx has. It closes the stream.
func (m *Manager) PortForward(ctx context.Context, podID string, port int32, stream io.ReadWriteCloser) (err error) {
	defer func() { err = errors.Join(err, stream.Close()) }()
	p, err := m.findPod(podID)
	if err != nil {
		return fmt.Errorf("forward port %d: %w", port, err)
	}
	rec := m.recordOf(p)
	if rec.State != PodReady {
		return errdefs.FailedPrecondition("forward port %d: pod %s is %s", port, rec.ID, rec.State)
	}
	if port < 1 || port > 65535 {
		return errdefs.Invalid("forward port %d: outside 1-65535", port)
	}
	path := rec.Pins.Net
	if rec.Config.Security.Namespaces.Network == spec.NamespaceNode {
		path = ""
	}
	conn, err := m.cfg.Namespaces.Dial(ctx, path, port)
	if err != nil {
		return fmt.Errorf("forward to port %d of pod %s: %w", port, rec.ID, err)
	}
	if err := pump(ctx, conn, stream); err != nil {
		return fmt.Errorf("forward to port %d of pod %s: %w", port, rec.ID, err)
	}
	return nil
}

// pump copies both ways. The end of the client's direction is passed on, so that a server that answers only then does; the
// end of the server's ends the whole.
func pump(ctx context.Context, conn Conn, stream io.ReadWriter) (err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // it is closed once more above, and that error counts
	defer stop()
	go func() {
		// The client going away shows as an end of its direction, which is passed on below.
		_, _ = io.Copy(conn, stream)
		_ = conn.CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if isHangup(err) {
		return nil
	}
	return err
}

// isHangup says whether an error is only the way that one side of a connection says goodbye.
func isHangup(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF)
}
