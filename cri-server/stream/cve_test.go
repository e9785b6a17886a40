package stream_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/stream"
)

// Each exec, attach or terminal whose client had gone left a goroutine behind, until containerd ran out of memory
// (CVE-2022-23471, CVE-2025-64329). Ten thousand clients go away here. It would show as
// goroutines that do not come back.
func TestCVE_2022_23471_2025_64329_LostClients(t *testing.T) {
	untilGone := func(ctx context.Context) { <-ctx.Done() }
	s := serveWith(t, stream.Config{CreationTimeout: time.Second, Runtime: fake{
		exec: func(ctx context.Context, _ string, _ pod.ExecStream) (int32, error) {
			untilGone(ctx)
			return 0, ctx.Err()
		},
		attach: func(ctx context.Context, _ string, _ pod.AttachStream) error { untilGone(ctx); return ctx.Err() },
		forward: func(ctx context.Context, _ string, _ int32, conn io.ReadWriteCloser) error {
			untilGone(ctx)
			return conn.Close()
		},
	}})
	before := runtime.NumGoroutine()
	const clients, lanes = 10_000, 8
	work := make(chan int)
	var wg sync.WaitGroup
	for range lanes {
		wg.Go(func() {
			for i := range work {
				if err := vanish(s, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range clients {
		work <- i
	}
	close(work)
	wg.Wait()
	deadline := time.Now().Add(30 * time.Second)
	for runtime.NumGoroutine() > before+lanes && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > before+lanes {
		buf := make([]byte, 20_000)
		t.Errorf("%d goroutines, %d before\n%s", now, before, buf[:runtime.Stack(buf, true)])
	}
}

// addresses hands out addresses of streams.
type addresses interface {
	GetExec(req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error)
	GetAttach(req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error)
}

// vanish asks for a stream, begins to use it, and goes away as soon as the connection has left HTTP, some with a frame
// begun.
func vanish(s addresses, i int) error {
	address := ""
	if i%2 == 0 {
		r, err := s.GetExec(&runtimeapi.ExecRequest{ContainerId: "c", Cmd: []string{"x"}, Stdin: true, Stdout: true, Tty: i%4 == 0})
		if err != nil {
			return err
		}
		address = r.GetUrl()
	} else {
		r, err := s.GetAttach(&runtimeapi.AttachRequest{ContainerId: "c", Stdin: true, Stdout: true, Tty: i%4 == 1})
		if err != nil {
			return err
		}
		address = r.GetUrl()
	}
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return err
	}
	defer conn.Close()
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n", u.Path)
	if i%3 == 1 {
		request = fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n", u.Path)
	}
	// All use up their addresses, of which there may only be so many at a time.
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, make([]byte, 12)); err != nil {
		return err
	}
	if i%5 == 0 {
		_, err = conn.Write([]byte{0x80, 3, 0, 1, 1, 0, 0, 0}) // the beginning of a frame
	}
	return err
}

func TestMain(m *testing.M) {
	stream.LogTo(slog.New(slog.DiscardHandler)) // ten thousand lost clients are a line each
	os.Exit(m.Run())
}
