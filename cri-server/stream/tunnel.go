package stream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// openTunnel accepts a WebSocket through which a client wants to speak SPDY, as port-forward does where only WebSocket
// gets through proxies. It returns a request and a response as if SPDY had been asked for; the library takes over the
// connection below, which is then the tunnel.
func openTunnel(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, bool) {
	// Browsers say where a page came from, and gorilla refuses foreign ones.
	upgrader := websocket.Upgrader{Subprotocols: []string{portforward.WebsocketsSPDYTunnelingPortForwardV1}}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil, nil, false // Upgrade has answered
	}
	inner := r.Clone(r.Context())
	inner.Header = http.Header{
		httpstream.HeaderConnection: {httpstream.HeaderUpgrade},
		httpstream.HeaderUpgrade:    {spdy.HeaderSpdy31},
	}
	inner.Header.Set(httpstream.HeaderProtocolVersion, portforward.ProtocolV1Name)
	return &tunnelWriter{conn: &tunnel{Conn: conn}, header: http.Header{}}, inner, true
}

// tunnelWriter stands in for a response that was already sent: nothing is written but what comes after the takeover.
type tunnelWriter struct {
	conn   *tunnel
	header http.Header
}

func (w *tunnelWriter) Header() http.Header         { return w.header }
func (w *tunnelWriter) WriteHeader(int)             {}
func (w *tunnelWriter) Write(p []byte) (int, error) { return len(p), nil }

// Hijack hands out the tunnel.
func (w *tunnelWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// tunnel is a WebSocket as a stream of bytes, whatever the messages that they come in.
type tunnel struct {
	*websocket.Conn
	message io.Reader // that is being read; nil between two
	write   sync.Mutex
	closed  sync.Once
}

func (t *tunnel) Read(p []byte) (int, error) {
	for {
		if t.message == nil {
			kind, message, err := t.NextReader()
			if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
				return 0, io.EOF
			}
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, fmt.Errorf("read from a tunnel: a message of type %d, not binary", kind)
			}
			t.message = message
		}
		n, err := t.message.Read(p)
		if errors.Is(err, io.EOF) {
			t.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (t *tunnel) Write(p []byte) (int, error) {
	t.write.Lock() // a WebSocket has one writer at a time
	defer t.write.Unlock()
	if err := t.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close says goodbye, so that the other side sees an end and no error.
func (t *tunnel) Close() (err error) {
	t.closed.Do(func() {
		goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = t.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second)) // the client may be gone
		err = t.Conn.Close()
	})
	return err
}

// SetDeadline bounds reads and writes.
func (t *tunnel) SetDeadline(at time.Time) error {
	return errors.Join(t.SetReadDeadline(at), t.SetWriteDeadline(at))
}
