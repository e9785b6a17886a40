package stream

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
	"k8s.io/utils/exec"
)

// The channels of remote commands over WebSocket: the first byte of each message. Version 5 is version 4 with a message
// (255, channel) that ends a channel, without which a client could never end a command's stdin.
const (
	channelStdin = iota
	channelStdout
	channelStderr
	channelError
	channelResize
	channels
)

// serveV5 runs one call over version 5.
func serveV5(w http.ResponseWriter, r *http.Request, s *session, run func(context.Context, streams) error) {
	kinds := make([]wsstream.ChannelType, channels)
	kinds[channelStdin] = onlyIf(s.stdin, wsstream.ReadChannel)
	kinds[channelStdout] = onlyIf(s.stdout, wsstream.WriteChannel)
	kinds[channelStderr] = onlyIf(s.stderr, wsstream.WriteChannel)
	kinds[channelError] = wsstream.WriteChannel
	kinds[channelResize] = wsstream.ReadChannel
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		remotecommand.StreamProtocolV5Name: {Binary: true, Channels: kinds},
	})
	conn.SetIdleTimeout(idleTimeout)
	_, c, err := conn.Open(w, r)
	if err != nil {
		s.logger.DebugContext(r.Context(), "open a WebSocket", "stream", s.verb, "id", s.id, "err", err)
		return // the client has been told by HTTP
	}
	defer func() { _ = conn.Close() }() // all that counts was sent, or the client is gone
	err = run(r.Context(), streams{
		stdin: c[channelStdin], stdout: c[channelStdout], stderr: c[channelStderr], resize: readSizes(r.Context(), c[channelResize]),
	})
	if _, err := c[channelError].Write(result(err)); err != nil {
		s.logger.DebugContext(r.Context(), "tell a client the result", "stream", s.verb, "id", s.id, "err", err)
	}
}

func onlyIf(wanted bool, kind wsstream.ChannelType) wsstream.ChannelType {
	if wanted {
		return kind
	}
	return wsstream.IgnoreChannel
}

// readSizes decodes a terminal's sizes until the connection or the call ends.
func readSizes(ctx context.Context, r io.Reader) <-chan remotecommand.TerminalSize {
	out := make(chan remotecommand.TerminalSize)
	go func() {
		defer close(out)
		for d := json.NewDecoder(r); ; {
			var size remotecommand.TerminalSize
			if d.Decode(&size) != nil {
				return
			}
			select {
			case out <- size:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// outcome is the part of Kubernetes' metav1.Status that clients read: success, an exit code, or a message.
type outcome struct {
	Status  string   `json:"status"`
	Reason  string   `json:"reason,omitempty"`
	Message string   `json:"message,omitempty"`
	Code    int      `json:"code,omitempty"`
	Details *details `json:"details,omitempty"`
}

type details struct {
	Causes []cause `json:"causes"`
}

type cause struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func result(err error) []byte {
	o := outcome{Status: "Success"}
	if exit, ok := errors.AsType[exec.CodeExitError](err); ok {
		o = outcome{
			Status: "Failure", Reason: remotecommand.NonZeroExitCodeReason,
			Message: "command terminated with non-zero exit code: " + err.Error(),
			Details: &details{Causes: []cause{{Reason: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(exit.Code)}}},
		}
	} else if err != nil {
		o = outcome{Status: "Failure", Reason: "InternalError", Message: err.Error(), Code: http.StatusInternalServerError}
	}
	data, err := json.Marshal(o)
	if err != nil { // strings and numbers always have a form
		return []byte(`{"status":"Failure"}`)
	}
	return data
}
