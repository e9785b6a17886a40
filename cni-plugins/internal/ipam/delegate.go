package ipam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// delegate runs a plugin as its own program. How long it may take is the runtime's to say, which kills the whole process group.
func delegate(path string) plugin.Commands {
	silent := func(command string) func(*plugin.Request) error {
		return func(r *plugin.Request) error { _, err := run(path, command, r); return err }
	}
	return plugin.Commands{
		Add: func(r *plugin.Request) (*current.Result, error) {
			data, err := run(path, "ADD", r)
			if err != nil {
				return nil, err
			}
			return plugin.ParseResult(r.Config.CNIVersion, data)
		},
		Del: silent("DEL"), Check: silent("CHECK"), GC: silent("GC"), Status: silent("STATUS"),
	}
}

func run(path, command string, r *plugin.Request) ([]byte, error) {
	stdout := &bounded{}
	cmd := exec.Command(path)
	cmd.Env = environment(r.Environ, command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(r.Config.Raw), stdout, r.Stderr
	err := cmd.Run()
	name := filepath.Base(path)
	switch {
	case stdout.over:
		return nil, errdefs.Invalid("%s, %s: it printed more than %d bytes", name, command, stdoutMax)
	case err == nil:
		return stdout.text, nil
	}
	var said types.Error
	if errors.As(err, new(*exec.ExitError)) && json.Unmarshal(stdout.text, &said) == nil && said.Msg != "" {
		return nil, fmt.Errorf("%s, %s: %w", name, command, &said) // the delegate's code becomes ours
	}
	return nil, fmt.Errorf("%s, %s: %w; it printed %.500q", name, command, err, stdout.text)
}

// stdoutMax bounds what a delegate may print, in bytes.
const stdoutMax = 4 << 20

// bounded keeps what is written to it, up to stdoutMax.
type bounded struct {
	text []byte
	over bool
}

// Write implements io.Writer. Its error ends the pipe, and with that who writes on.
func (b *bounded) Write(p []byte) (int, error) {
	if len(b.text)+len(p) > stdoutMax {
		b.over = true
		return 0, io.ErrShortWrite
	}
	b.text = append(b.text, p...)
	return len(p), nil
}

func environment(environ []string, command string) []string {
	env := []string{"CNI_COMMAND=" + command}
	for _, kv := range environ {
		if !strings.HasPrefix(kv, "CNI_COMMAND=") {
			env = append(env, kv)
		}
	}
	return env
}
