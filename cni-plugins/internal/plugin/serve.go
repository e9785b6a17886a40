package plugin

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/berth-runtime/berth/internal/cniwire"
)

// Serve runs one call after another, each with the environment and the standard input that come with it, until there are no more.
// Nothing of a call is left for the next one. An error means that the other end is gone, or says what no call is.
func Serve(c Commands, calls io.Reader, replies io.Writer) error {
	if _, err := io.WriteString(replies, cniwire.Hello); err != nil {
		return err
	}
	for {
		call, err := cniwire.ReadCall(calls)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var stdout, stderr bytes.Buffer
		status := Run(c, call.Environ, bytes.NewReader(call.Stdin), &stdout, &stderr)
		if err := cniwire.WriteReply(replies, cniwire.Reply{Status: status, Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}); err != nil {
			return err
		}
	}
}

// lookup returns the function that finds variables of an environment, the last of each name; "" for those that are not there.
func lookup(environ []string) func(string) string {
	vars := make(map[string]string, len(environ))
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			vars[name] = value
		}
	}
	return func(name string) string { return vars[name] }
}
