package stream

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Runtime is what streams are connected to; pod.Manager is one. Each call ends when its context does.
type Runtime interface {
	Exec(ctx context.Context, id string, s pod.ExecStream) (exit int32, err error)
	Attach(ctx context.Context, id string, s pod.AttachStream) error
	PortForward(ctx context.Context, podID string, port int32, stream io.ReadWriteCloser) error
}

// session is one request that is being served. Towards the library it is an executor, an attacher and a port forwarder.
type session struct {
	request
	runtime  Runtime
	logger   *slog.Logger
	creation time.Duration
}

// streams are what a protocol has opened.
type streams struct {
	stdin          io.Reader
	stdout, stderr io.WriteCloser
	resize         <-chan remotecommand.TerminalSize
}

// only keeps what was asked for: over WebSocket a stream is there for each, and a command connected to a stdin that
// nobody wanted would never see its end.
func (s *session) only(in streams) streams {
	if !s.stdin {
		in.stdin = nil
	}
	if !s.stdout {
		in.stdout = nil
	}
	if !s.stderr {
		in.stderr = nil
	}
	if !s.tty {
		in.resize = nil
	}
	return in
}

// exec runs the command. A code that is not zero is an error of the type by which both protocols tell it.
func (s *session) exec(ctx context.Context, all streams) (err error) {
	defer s.finish(ctx, &err)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := s.only(all)
	code, err := s.runtime.Exec(ctx, s.id, pod.ExecStream{
		Cmd: s.cmd, TTY: s.tty, Stdin: c.stdin, Stdout: c.stdout, Stderr: c.stderr, Resize: sizes(ctx, c.resize),
	})
	if err != nil {
		return err
	}
	if code != 0 {
		return exec.CodeExitError{Err: fmt.Errorf("exit code %d", code), Code: int(code)}
	}
	return nil
}

func (s *session) attach(ctx context.Context, all streams) (err error) {
	defer s.finish(ctx, &err)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := s.only(all)
	return s.runtime.Attach(ctx, s.id, pod.AttachStream{
		Stdin: c.stdin, Stdout: c.stdout, Stderr: c.stderr, Resize: sizes(ctx, c.resize),
	})
}

// ExecInContainer is how the library runs the command.
func (s *session) ExecInContainer(ctx context.Context, _, _, _ string, _ []string, in io.Reader, out, errOut io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	return s.exec(ctx, streams{stdin: in, stdout: out, stderr: errOut, resize: resize})
}

// AttachContainer is how the library attaches.
func (s *session) AttachContainer(ctx context.Context, _, _, _ string, in io.Reader, out, errOut io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize) error {
	return s.attach(ctx, streams{stdin: in, stdout: out, stderr: errOut, resize: resize})
}

// PortForward is how the library forwards one connection; there may be many at a time.
func (s *session) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) (err error) {
	defer s.finish(ctx, &err)
	return s.runtime.PortForward(ctx, s.id, port, stream)
}

// finish runs deferred, as only that sees a panic. The error itself goes to the client; here it is logged for the node,
// since the client may be gone.
func (s *session) finish(ctx context.Context, err *error) {
	if r := recover(); r != nil {
		s.logger.ErrorContext(ctx, "panic in a stream", "stream", s.verb, "id", s.id, "panic", r, "stack", string(debug.Stack()))
		*err = errdefs.Bug("%s: panic: %v", s.verb, r)
	}
	s.logger.DebugContext(ctx, "stream ended", "stream", s.verb, "id", s.id, "err", *err)
}

// sizes passes a terminal's sizes on until ctx or the client ends. It returns nil for a stream without a terminal.
func sizes(ctx context.Context, resize <-chan remotecommand.TerminalSize) <-chan pod.Size {
	if resize == nil {
		return nil
	}
	out := make(chan pod.Size)
	go func() {
		defer close(out)
		for {
			select {
			case size, ok := <-resize:
				if !ok {
					return
				}
				select {
				case out <- pod.Size{Width: size.Width, Height: size.Height}:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
