package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// The protocol: a stream each for errors, stdin, stdout, stderr and sizes, told apart by a header
// (k8s.io/cri-streaming/pkg/streaming/remotecommand).
const (
	protocol   = "v4.channel.k8s.io"
	typeHeader = "streamType"
)

// Size is a terminal's, in characters.
type Size struct{ Width, Height uint16 }

// Streams are what a command is connected to. They must be those that the RPC announced: a nil one is not connected.
// With a terminal, Stderr is nil and Resize may be set.
type Streams struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	TTY    bool
	Resize <-chan Size
}

// Run connects streams to what address stands for, and returns the exit code when that has ended and all its output is
// written. When ctx ends, so does the connection; what that means for the command is the server's affair (pod.Manager.Exec
// lets it go on). A read of Stdin may still be pending when Run returns.
func Run(ctx context.Context, address string, s Streams) (code int, err error) {
	conn, err := dial(ctx, address)
	if err != nil {
		return 0, fmt.Errorf("connect to the stream at %s: %w", address, err)
	}
	defer conn.Close()
	end := context.AfterFunc(ctx, func() { _ = conn.Close() }) // the reads below then end, and report ctx
	defer end()
	session, err := open(conn, s)
	if err != nil {
		return 0, fmt.Errorf("open the streams at %s: %w", address, err)
	}
	code, err = session.run(s)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return code, err
}

func dial(ctx context.Context, address string) (httpstream.Connection, error) {
	direct := func(*http.Request) (*url.URL, error) { return nil, nil } // never through a proxy: the server is on loopback
	upgrade, err := spdy.NewRoundTripperWithConfig(spdy.RoundTripperConfig{Proxier: direct})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(httpstream.HeaderProtocolVersion, protocol)
	resp, err := upgrade.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotFound {
		return nil, errors.Join(errdefs.NotFound("the address is used up or too old; ask for a new one"), resp.Body.Close())
	}
	conn, err := upgrade.NewConnection(resp)
	if err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	if got := resp.Header.Get(httpstream.HeaderProtocolVersion); got != protocol {
		return nil, errors.Join(errdefs.NotSupported("the server speaks %q, not %q", got, protocol), conn.Close())
	}
	return conn, nil
}
