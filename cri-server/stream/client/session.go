package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"
	"k8s.io/streaming/pkg/httpstream"
)

// session is the set of streams of one connection. Those that were not asked for are nil.
type session struct {
	errors, stdin, stdout, stderr, resize httpstream.Stream
}

func open(conn httpstream.Connection, s Streams) (*session, error) {
	var out session
	for _, one := range []struct {
		name   string
		wanted bool
		stream *httpstream.Stream
	}{
		{"error", true, &out.errors},
		{"stdin", s.Stdin != nil, &out.stdin},
		{"stdout", s.Stdout != nil, &out.stdout},
		{"stderr", s.Stderr != nil && !s.TTY, &out.stderr},
		{"resize", s.TTY, &out.resize},
	} {
		if !one.wanted {
			continue
		}
		stream, err := conn.CreateStream(http.Header{typeHeader: {one.name}})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
		*one.stream = stream
	}
	// This side sends nothing on the error stream. If the command has ended already, so has the stream: what counts is
	// what is read from it.
	_ = out.errors.Close()
	return &out, nil
}

func (s *session) run(std Streams) (int, error) {
	if s.stdin != nil {
		go func() {
			_, _ = io.Copy(s.stdin, std.Stdin) // whether the command took it all is the command's affair
			_ = s.stdin.Close()
		}()
	}
	if s.resize != nil {
		go sendSizes(s.resize, std.Resize)
	}
	var outputs errgroup.Group
	if s.stdout != nil {
		outputs.Go(func() error { return copyAll(std.Stdout, s.stdout, "stdout") })
	}
	if s.stderr != nil {
		outputs.Go(func() error { return copyAll(std.Stderr, s.stderr, "stderr") })
	}
	result, err := io.ReadAll(io.LimitReader(s.errors, 64<<10))
	if err != nil {
		return 0, fmt.Errorf("wait for the command: %w", err)
	}
	if err := outputs.Wait(); err != nil {
		return 0, err
	}
	return exitCode(result)
}

func copyAll(dst io.Writer, src io.Reader, name string) error {
	if _, err := io.Copy(dst, src); err != nil {
		return fmt.Errorf("copy the command's %s: %w", name, err)
	}
	return nil
}

// sendSizes ends when sizes is closed or the connection is gone. The message is a Kubernetes one; field names count.
func sendSizes(w io.Writer, sizes <-chan Size) {
	for size := range sizes {
		if err := json.NewEncoder(w).Encode(size); err != nil {
			return
		}
	}
}

// status is the part of Kubernetes' metav1.Status that the error stream carries.
type status struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Details struct {
		Causes []struct {
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"causes"`
	} `json:"details"`
}

// exitCode reads what the server said at the end. Nothing at all means that the connection broke.
func exitCode(result []byte) (int, error) {
	if len(result) == 0 {
		return 0, errors.New("wait for the command: the connection ended before the command did")
	}
	var s status
	if err := json.Unmarshal(result, &s); err != nil {
		return 0, fmt.Errorf("read the command's result %.200q: %w", result, err)
	}
	if s.Status == "Success" {
		return 0, nil
	}
	for _, cause := range s.Details.Causes {
		var code int
		if n, err := fmt.Sscanf(cause.Message, "%d", &code); cause.Reason == "ExitCode" && n == 1 && err == nil {
			return code, nil
		}
	}
	return 0, errors.New(s.Message)
}
