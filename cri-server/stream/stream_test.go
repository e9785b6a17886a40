package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/stream"
	"github.com/berth-runtime/berth/cri-server/stream/client"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// fake runs the functions that a test gives it.
type fake struct {
	exec    func(ctx context.Context, id string, s pod.ExecStream) (int32, error)
	attach  func(ctx context.Context, id string, s pod.AttachStream) error
	forward func(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error
}

func (f fake) Exec(ctx context.Context, id string, s pod.ExecStream) (int32, error) {
	return f.exec(ctx, id, s)
}

func (f fake) Attach(ctx context.Context, id string, s pod.AttachStream) error {
	return f.attach(ctx, id, s)
}

func (f fake) PortForward(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	return f.forward(ctx, id, port, stream)
}

func serve(t *testing.T, f fake) *stream.Server {
	t.Helper()
	return serveWith(t, stream.Config{Runtime: f})
}

func serveWith(t *testing.T, c stream.Config) *stream.Server {
	t.Helper()
	listener, err := stream.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Listener, c.Logger = listener, slog.New(slog.DiscardHandler)
	s := stream.New(t.Context(), c)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	return s
}

func execURL(t *testing.T, s *stream.Server, req *runtimeapi.ExecRequest) string {
	t.Helper()
	resp, err := s.GetExec(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetUrl()
}

// echo copies stdin to stdout, says its arguments on stderr, and exits with 7.
func echo(_ context.Context, id string, s pod.ExecStream) (int32, error) {
	if _, err := io.Copy(s.Stdout, s.Stdin); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprint(s.Stderr, id, s.Cmd); err != nil {
		return 0, err
	}
	return 7, nil
}

func TestExecOverSPDY(t *testing.T) {
	s := serve(t, fake{exec: echo})
	req := &runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"a", "b"}, Stdin: true, Stdout: true, Stderr: true}
	address := execURL(t, s, req)
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB: more than any buffer on the way
	var stdout, stderr bytes.Buffer
	code, err := client.Run(t.Context(), address, client.Streams{Stdin: strings.NewReader(big), Stdout: &stdout, Stderr: &stderr})
	if err != nil || code != 7 {
		t.Fatalf("got %d, %v", code, err)
	}
	if stdout.String() != big || stderr.String() != "c[a b]" {
		t.Fatalf("stdout has %d bytes, stderr is %q", stdout.Len(), stderr.String())
	}
	_, err = client.Run(t.Context(), address, client.Streams{Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "used up") {
		t.Fatalf("an address served twice: %v", err)
	}
}

// executors are client-go's, as crictl and kubectl use them.
func executors(t *testing.T, address string) map[string]remotecommand.Executor {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	overSPDY, err := remotecommand.NewSPDYExecutor(&rest.Config{}, http.MethodPost, u)
	if err != nil {
		t.Fatal(err)
	}
	overWebSocket, err := remotecommand.NewWebSocketExecutor(&rest.Config{}, http.MethodGet, address)
	if err != nil {
		t.Fatal(err)
	}
	v4, err := remotecommand.NewWebSocketExecutorForProtocols(&rest.Config{}, http.MethodGet, address, "v4.channel.k8s.io")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]remotecommand.Executor{"SPDY": overSPDY, "WebSocket": overWebSocket, "WebSocket version 4": v4}
}

func TestExecByKubectlsClient(t *testing.T) {
	s := serve(t, fake{exec: func(ctx context.Context, id string, s pod.ExecStream) (int32, error) {
		if s.Stdin == nil {
			s.Stdin = strings.NewReader("no stdin")
		}
		return echo(ctx, id, s)
	}})
	for _, name := range []string{"SPDY", "WebSocket", "WebSocket version 4"} {
		for _, stdin := range []bool{true, false} {
			if name == "WebSocket version 4" && stdin {
				continue // it cannot end stdin
			}
			t.Run(fmt.Sprint(name, " stdin ", stdin), func(t *testing.T) {
				address := execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"x"}, Stdin: stdin, Stdout: true, Stderr: true})
				var stdout, stderr bytes.Buffer
				options, want := remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr}, "no stdin"
				if stdin {
					want = strings.Repeat("0123456789abcdef", 1<<14)
					options.Stdin = strings.NewReader(want)
				}
				err := executors(t, address)[name].StreamWithContext(t.Context(), options)
				exit, ok := err.(interface{ ExitStatus() int })
				if !ok || exit.ExitStatus() != 7 {
					t.Fatalf("got %v, want exit status 7", err)
				}
				if stdout.String() != want || stderr.String() != "c[x]" {
					t.Fatalf("got %d bytes and %q", stdout.Len(), stderr.String())
				}
			})
		}
	}
}

func TestErrorsReachKubectlsClient(t *testing.T) {
	s := serve(t, fake{exec: func(context.Context, string, pod.ExecStream) (int32, error) {
		return 0, errors.New("command not found")
	}})
	for _, name := range []string{"SPDY", "WebSocket", "WebSocket version 4"} {
		address := execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"x"}, Stdout: true})
		err := executors(t, address)[name].StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
		if err == nil || !strings.Contains(err.Error(), "command not found") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestPortForwardByKubectlsClient(t *testing.T) {
	s := serve(t, fake{forward: func(_ context.Context, id string, port int32, c io.ReadWriteCloser) error {
		if _, err := fmt.Fprintf(c, "%s:%d ", id, port); err != nil {
			return err
		}
		_, err := io.CopyN(c, c, 5)
		return errors.Join(err, c.Close())
	}})
	for name, dial := range map[string]func(*url.URL) (httpstream.Dialer, error){
		"SPDY": func(u *url.URL) (httpstream.Dialer, error) {
			transport, upgrader, err := spdy.RoundTripperFor(&rest.Config{})
			return spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, u), err
		},
		"WebSocket": func(u *url.URL) (httpstream.Dialer, error) {
			return portforward.NewSPDYOverWebsocketDialerForStreaming(u, &rest.Config{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := s.GetPortForward(&runtimeapi.PortForwardRequest{PodSandboxId: "p", Port: []int32{80}})
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(resp.GetUrl())
			if err != nil {
				t.Fatal(err)
			}
			dialer, err := dial(u)
			if err != nil {
				t.Fatal(err)
			}
			stop, ready := make(chan struct{}), make(chan struct{})
			f, err := portforward.NewForStreaming(dialer, []string{"0:80"}, stop, ready, io.Discard, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- f.ForwardPorts() }()
			within(t, ready, "the forwarding")
			ports, err := f.GetPorts()
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // connections, one after the other over the same stream
				conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Write([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(conn)
				if err != nil || string(got) != "p:80 hello" {
					t.Fatalf("got %q, %v", got, err)
				}
				if err := conn.Close(); err != nil {
					t.Fatal(err)
				}
			}
			close(stop)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestTerminalSizesArrive(t *testing.T) {
	s := serve(t, fake{exec: func(ctx context.Context, _ string, s pod.ExecStream) (int32, error) {
		if !s.TTY || s.Stderr != nil {
			return 0, errors.New("no terminal")
		}
		for range 2 {
			select {
			case size := <-s.Resize:
				if _, err := fmt.Fprintf(s.Stdout, "%dx%d ", size.Width, size.Height); err != nil {
					return 0, err
				}
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		return 0, nil
	}})
	address := execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"sh"}, Tty: true, Stdout: true})
	sizes := make(chan client.Size, 2)
	sizes <- client.Size{Width: 80, Height: 24}
	sizes <- client.Size{Width: 132, Height: 50}
	var stdout bytes.Buffer
	code, err := client.Run(t.Context(), address, client.Streams{Stdout: &stdout, TTY: true, Resize: sizes})
	if err != nil || code != 0 || stdout.String() != "80x24 132x50 " {
		t.Fatalf("got %d, %v, %q", code, err, stdout.String())
	}
}

func TestErrorsReachTheClient(t *testing.T) {
	for name, exec := range map[string]func(context.Context, string, pod.ExecStream) (int32, error){
		"command not found": func(context.Context, string, pod.ExecStream) (int32, error) {
			return 0, errors.New("command not found")
		},
		"panic: as asked": func(context.Context, string, pod.ExecStream) (int32, error) { panic("as asked") },
	} {
		s := serve(t, fake{exec: exec})
		address := execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"x"}, Stdout: true})
		_, err := client.Run(t.Context(), address, client.Streams{Stdout: io.Discard})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q in it", err, name)
		}
	}
}

// silent neither reads nor writes until its context ends, as `sleep` does.
func silent(started, ended chan<- struct{}) func(context.Context, string, pod.ExecStream) (int32, error) {
	return func(ctx context.Context, _ string, _ pod.ExecStream) (int32, error) {
		close(started)
		<-ctx.Done()
		close(ended)
		return 0, ctx.Err()
	}
}

func within(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s did not happen", what)
	}
}

func TestTheDeathOfAClientEndsASilentExec(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	s := serve(t, fake{exec: silent(started, ended)})
	address := execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"sleep"}, Stdout: true})
	ctx, die := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := client.Run(ctx, address, client.Streams{Stdout: io.Discard})
		result <- err
	}()
	within(t, started, "the start")
	die()
	within(t, ended, "the end")
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestCloseEndsStreams(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	s := serve(t, fake{exec: silent(started, ended)})
	address := execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"sleep"}, Stdout: true})
	result := make(chan error, 1)
	go func() {
		_, err := client.Run(t.Context(), address, client.Streams{Stdout: io.Discard})
		result <- err
	}()
	within(t, started, "the start")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, ended, "the end")
	if err := <-result; err == nil {
		t.Fatal("the client heard of a success")
	}
}

func TestAttach(t *testing.T) {
	s := serve(t, fake{attach: func(_ context.Context, id string, s pod.AttachStream) error {
		_, err := fmt.Fprint(s.Stdout, "attached to ", id)
		return err
	}})
	resp, err := s.GetAttach(&runtimeapi.AttachRequest{ContainerId: "c", Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	if _, err := client.Run(t.Context(), resp.GetUrl(), client.Streams{Stdout: &stdout}); err != nil || stdout.String() != "attached to c" {
		t.Fatalf("got %v, %q", err, stdout.String())
	}
}

func TestRequestsThatCannotBeServed(t *testing.T) {
	s := serve(t, fake{})
	for _, req := range []*runtimeapi.ExecRequest{
		{Cmd: []string{"x"}, Stdout: true},
		{ContainerId: "c", Cmd: []string{"x"}},
		{ContainerId: "c", Cmd: []string{"x"}, Tty: true, Stderr: true},
	} {
		if _, err := s.GetExec(req); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%v: got %v", req, err)
		}
	}
	for range 1000 {
		execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"x"}, Stdout: true})
	}
	if _, err := s.GetExec(&runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"x"}, Stdout: true}); !errors.Is(err, errdefs.ErrExhausted) {
		t.Fatalf("got %v", err)
	}
}

func TestOnlyLoopbackIsServed(t *testing.T) {
	s := serve(t, fake{})
	u, err := url.Parse(execURL(t, s, &runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"x"}, Stdout: true}))
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil || host != "127.0.0.1" || port == "0" {
		t.Fatalf("the address is %s", u)
	}
}
