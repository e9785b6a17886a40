package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Config is what the server is made of.
type Config struct {
	Listener net.Listener // of [Listen]; the server's from then on
	Runtime  Runtime
	Logger   *slog.Logger

	// CreationTimeout is how long a client has to open the streams that it announced, and how long one that has vanished
	// before that is waited for. 0 is 30 s, as clients expect.
	CreationTimeout time.Duration
}

// Server hands out addresses and serves what is asked for there.
type Server struct {
	listener net.Listener
	http     *http.Server
	tokens   *tokens
	runtime  Runtime
	logger   *slog.Logger
	creation time.Duration
	end      context.CancelFunc
}

// Listen binds an address, host:port on loopback, where port 0 takes any free one. It is a step of its own, so that it can
// fail before anything is started that would have to be ended again.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for exec, attach and port-forward (stream.address): %w", err)
	}
	return listener, nil
}

// New makes the server. The URLs that it hands out are right from the first on; [Server.Serve] answers there.
func New(ctx context.Context, c Config) *Server {
	base, end := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{
		listener: watchingListener{c.Listener}, tokens: newTokens(), runtime: c.Runtime, logger: c.Logger, end: end,
		creation: cmp.Or(c.CreationTimeout, defaultCreationTimeout),
	}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       endWithConnection,
	}
	return s
}

// Serve answers until [Server.Close], which makes it return nil.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve exec, attach and port-forward: %w", err)
	}
	return nil
}

// Close ends all streams: those that left HTTP behind, too, as their contexts end.
func (s *Server) Close() error {
	s.end()
	return errors.Join(s.http.Close(), CloseListener(s.listener))
}

// CloseListener closes what [Listen] returned, which http.Server has done already if Serve was ever called.
func CloseListener(l net.Listener) error {
	err := l.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// GetExec returns the address of an exec.
func (s *Server) GetExec(req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	url, err := s.hand("exec", request{
		id: req.GetContainerId(), cmd: req.GetCmd(), tty: req.GetTty(),
		stdin: req.GetStdin(), stdout: req.GetStdout(), stderr: req.GetStderr(),
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ExecResponse{Url: url}, nil
}

// GetAttach returns the address of an attach.
func (s *Server) GetAttach(req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	url, err := s.hand("attach", request{
		id: req.GetContainerId(), tty: req.GetTty(), stdin: req.GetStdin(), stdout: req.GetStdout(), stderr: req.GetStderr(),
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.AttachResponse{Url: url}, nil
}

// GetPortForward returns the address of a port-forward.
func (s *Server) GetPortForward(req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	url, err := s.hand("portforward", request{id: req.GetPodSandboxId(), ports: req.GetPort()})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.PortForwardResponse{Url: url}, nil
}

// hand keeps a request until its client comes for it.
func (s *Server) hand(verb string, r request) (string, error) {
	switch {
	case r.id == "":
		return "", errdefs.Invalid("%s: the ID is missing", verb)
	case r.tty && r.stderr:
		return "", errdefs.Invalid("%s: with tty, stderr must not be asked for: a terminal has one output", verb)
	case verb != "portforward" && !r.stdin && !r.stdout && !r.stderr:
		return "", errdefs.Invalid("%s: none of stdin, stdout and stderr is asked for", verb)
	}
	r.verb = verb
	token, err := s.tokens.insert(r, time.Now())
	if err != nil {
		return "", err
	}
	return "http://" + s.listener.Addr().String() + "/" + verb + "/" + token, nil
}
