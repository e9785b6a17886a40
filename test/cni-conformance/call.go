package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
)

// object is a piece of JSON.
type object = map[string]any

// with returns a copy of a configuration with some keys changed; a nil value removes a key.
func with(conf object, changes object) object {
	merged := maps.Clone(conf)
	for k, v := range changes {
		if merged[k] = v; v == nil {
			delete(merged, k)
		}
	}
	return merged
}

// call is one execution of a plugin. Zero values of the fields leave their variables out.
type call struct {
	plugin, verb string
	c            *container
	ifName       string // "" = eth0
	args         string
	stdin        []byte // instead of conf
	netns        string // instead of that of the container
	unset        string // a variable to leave out
	repair       bool   // CHECK is to put back what is missing, which berth's plugins know
}

// callTimeout is for plugins that hang.
const callTimeout = 30 * time.Second

// pluginError is the error object of a plugin.
type pluginError struct {
	CNIVersion string `json:"cniVersion"`
	Code       uint   `json:"code"`
	Msg        string `json:"msg"`
	Details    string `json:"details"`
}

func (e *pluginError) Error() string { return fmt.Sprintf("code %d: %s %s", e.Code, e.Msg, e.Details) }

func (e *env) environment(k call) []string {
	vars := []string{"CNI_COMMAND=" + k.verb, "CNI_PATH=" + e.path, "PATH=" + os.Getenv("PATH")} // some plugins run nft or iptables
	if k.c != nil {
		path := k.c.path
		if k.netns != "" {
			path = k.netns
		}
		name := k.ifName
		if name == "" {
			name = "eth0"
		}
		vars = append(vars, "CNI_CONTAINERID="+k.c.id, "CNI_IFNAME="+name, "CNI_NETNS="+path)
	}
	if k.repair {
		vars = append(vars, "BERTH_CNI_REPAIR=1")
	}
	if k.args != "" {
		vars = append(vars, "CNI_ARGS="+k.args)
	}
	var kept []string
	for _, v := range vars {
		if k.unset == "" || !strings.HasPrefix(v, k.unset+"=") {
			kept = append(kept, v)
		}
	}
	return kept
}

// command prepares the plugin's program.
func (e *env) command(ctx context.Context, k call, conf object) (*exec.Cmd, error) {
	stdin := k.stdin
	if stdin == nil {
		if conf["cniVersion"] == newest && e.version != "" {
			conf = with(conf, object{"cniVersion": e.version})
		}
		var err error
		if stdin, err = json.Marshal(conf); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(e.plugins, k.plugin))
	cmd.Env, cmd.Stdin, cmd.Dir = e.environment(k), bytes.NewReader(stdin), e.dir
	return cmd, nil
}

// run executes the plugin in the host's namespace. A plugin that fails gives a *pluginError, or another error if it does not
// fail as it should.
func (e *env) run(k call, conf object) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	cmd, err := e.command(ctx, k, conf)
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = e.host.Do(cmd.Run)
	if err == nil {
		return stdout.Bytes(), nil
	}
	var said pluginError
	if !errors.As(err, new(*exec.ExitError)) || json.Unmarshal(stdout.Bytes(), &said) != nil {
		return nil, fmt.Errorf("%s %s: %w, and no error object on stdout but %q; stderr %q", k.plugin, k.verb, err, stdout.Bytes(), stderr.Bytes())
	}
	return nil, &said
}

// add runs ADD and returns the result in the newest form, and as it was printed.
func (e *env) add(plugin string, c *container, conf object) (*current.Result, object, error) {
	out, err := e.run(call{plugin: plugin, verb: "ADD", c: c}, conf)
	if err != nil {
		return nil, nil, fmt.Errorf("ADD: %w", err)
	}
	var raw object
	if err := json.Unmarshal(out, &raw); err != nil {
		return nil, nil, fmt.Errorf("parse the result: %w", err)
	}
	version, _ := conf["cniVersion"].(string)
	if version == newest && e.version != "" {
		version = e.version
	}
	if raw["cniVersion"] != version {
		return nil, nil, fmt.Errorf("the result has cniVersion %v, the configuration %s", raw["cniVersion"], version)
	}
	return resultOf(version, raw)
}

// resultOf reads a result, which it also returns as it is.
func resultOf(version string, raw object) (*current.Result, object, error) {
	data, err := json.Marshal(raw)
	if err != nil {
		return nil, nil, err
	}
	old, err := create.Create(version, data)
	if err != nil {
		return nil, nil, fmt.Errorf("read the result: %w", err)
	}
	result, err := current.NewResultFromResult(old)
	return result, raw, err
}

func (e *env) del(plugin string, c *container, conf object) error {
	_, err := e.run(call{plugin: plugin, verb: "DEL", c: c}, conf)
	if err != nil {
		return fmt.Errorf("DEL: %w", err)
	}
	return nil
}

func (e *env) check(plugin string, c *container, conf, result object) error {
	_, err := e.run(call{plugin: plugin, verb: "CHECK", c: c}, with(conf, object{"prevResult": result}))
	return err
}

// gc runs GC with the containers that are to stay.
func (e *env) gc(plugin string, conf object, valid ...*container) error {
	list := []object{}
	for _, c := range valid {
		list = append(list, object{"containerID": c.id, "ifname": "eth0"})
	}
	_, err := e.run(call{plugin: plugin, verb: "GC"}, with(conf, object{"cni.dev/valid-attachments": list}))
	if err != nil {
		return fmt.Errorf("GC: %w", err)
	}
	return nil
}

func (e *env) status(plugin string, conf object) error {
	_, err := e.run(call{plugin: plugin, verb: "STATUS"}, conf)
	return err
}

// wantCode says what is wrong if err is not an error object with one of the codes.
func wantCode(err error, codes ...uint) error {
	var said *pluginError
	if err == nil {
		return fmt.Errorf("it succeeded, want an error with code %v", codes)
	}
	if !errors.As(err, &said) {
		return err
	}
	if slices.Contains(codes, said.Code) {
		return nil
	}
	return fmt.Errorf("code %d, want %v; message %q", said.Code, codes, said.Msg)
}

// saw is the error of a case that saw something else than it wants, or could not look well.
func saw(err error, format string, args ...any) error {
	seen := fmt.Sprintf(format, args...)
	if err == nil {
		return errors.New(seen)
	}
	return fmt.Errorf("%s, %w", seen, err)
}
