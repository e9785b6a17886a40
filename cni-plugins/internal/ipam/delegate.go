package ipam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
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
	var stdout bytes.Buffer
	cmd := exec.Command(path)
	cmd.Env = environment(command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(r.Config.Raw), &stdout, r.Stderr
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	name := filepath.Base(path)
	var said types.Error
	if errors.As(err, new(*exec.ExitError)) && json.Unmarshal(stdout.Bytes(), &said) == nil && said.Msg != "" {
		return nil, fmt.Errorf("%s, %s: %w", name, command, &said) // the delegate's code becomes ours
	}
	return nil, fmt.Errorf("%s, %s: %w; it printed %.500q", name, command, err, stdout.Bytes())
}

func environment(command string) []string {
	env := []string{"CNI_COMMAND=" + command}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CNI_COMMAND=") {
			env = append(env, kv)
		}
	}
	return env
}
