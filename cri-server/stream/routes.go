package stream

import (
	"net/http"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// How long a connection may do nothing, and how long a client has to open the streams that it announced.
const (
	idleTimeout            = 4 * time.Hour
	defaultCreationTimeout = 30 * time.Second
)

// routes answers GET (WebSocket) and POST (SPDY).
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for verb, serve := range map[string]func(http.ResponseWriter, *http.Request, *session){
		"exec": serveExec, "attach": serveAttach, "portforward": servePortForward,
	} {
		handle := func(w http.ResponseWriter, r *http.Request) {
			req, ok := s.tokens.consume(verb, r.PathValue("token"), time.Now())
			if !ok {
				http.NotFound(w, r)
				return
			}
			serve(w, r, &session{request: req, runtime: s.runtime, logger: s.logger, creation: s.creation})
		}
		mux.HandleFunc("GET /"+verb+"/{token}", handle)
		mux.HandleFunc("POST /"+verb+"/{token}", handle)
	}
	return mux
}

func serveExec(w http.ResponseWriter, r *http.Request, s *session) {
	if wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) {
		serveV5(w, r, s, s.exec)
		return
	}
	remotecommand.ServeExec(w, r, s, "", "", s.id, s.cmd, s.options(), idleTimeout, s.creation, remotecommand.SupportedStreamingProtocols)
}

func serveAttach(w http.ResponseWriter, r *http.Request, s *session) {
	if wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) {
		serveV5(w, r, s, s.attach)
		return
	}
	remotecommand.ServeAttach(w, r, s, "", "", s.id, s.options(), idleTimeout, s.creation, remotecommand.SupportedStreamingProtocols)
}

func servePortForward(w http.ResponseWriter, r *http.Request, s *session) {
	if wsstream.IsWebSocketRequestWithTunnelingProtocol(r) {
		var ok bool
		if w, r, ok = openTunnel(w, r); !ok {
			return // the client has been told
		}
	}
	ports, err := portforward.BuildV4Options(s.ports)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, s, s.id, "", ports, idleTimeout, s.creation, portforward.SupportedProtocols)
}

func (s *session) options() *remotecommand.Options {
	return &remotecommand.Options{Stdin: s.stdin, Stdout: s.stdout, Stderr: s.stderr, TTY: s.tty}
}
