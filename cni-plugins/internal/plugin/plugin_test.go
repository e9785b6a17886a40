package plugin_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// run calls Run with an environment and answers of a plugin that returns err to everything.
func run(t *testing.T, env map[string]string, stdin string, err error) (status int, answer map[string]any) {
	t.Helper()
	silent := func(*plugin.Request) error { return err }
	commands := plugin.Commands{
		Add: func(*plugin.Request) (*current.Result, error) { return &current.Result{}, err },
		Del: silent, Check: silent, GC: silent, Status: silent,
	}
	var stdout, stderr bytes.Buffer
	status = plugin.Run(commands, environ(env), strings.NewReader(stdin), &stdout, &stderr)
	if stdout.Len() > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
			t.Fatalf("stdout %q: %v", stdout.Bytes(), err)
		}
	}
	return status, answer
}

func env(command string, changes map[string]string) map[string]string {
	e := map[string]string{
		"CNI_COMMAND": command, "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/no/such/namespace", "CNI_PATH": "/opt/cni/bin",
	}
	maps.Copy(e, changes)
	return e
}

func environ(vars map[string]string) []string {
	var list []string
	for name, value := range vars {
		list = append(list, name+"="+value)
	}
	return list
}

const conf = `{"cniVersion":"1.1.0","name":"net","type":"t"}`

// Every kind of error has one code, and the text stays.
func TestCodes(t *testing.T) {
	for _, tc := range []struct {
		err    error
		del    uint
		status uint
	}{
		{errdefs.Invalid("x"), types.ErrInvalidNetworkConfig, types.ErrInvalidNetworkConfig},
		{plugin.Unsupported("key", 1), types.ErrUnsupportedField, types.ErrUnsupportedField},
		{errdefs.NotSupported("x"), types.ErrUnsupportedField, types.ErrPluginNotAvailable},
		{errdefs.NotFound("x"), types.ErrUnknownContainer, types.ErrPluginNotAvailable},
		{errdefs.Exists("x"), plugin.CodeConflict, types.ErrPluginNotAvailable},
		{plugin.Mismatch("x"), plugin.CodeMismatch, plugin.CodeMismatch},
		{errdefs.New(errdefs.ErrDataLoss, "x"), plugin.CodeDamaged, types.ErrPluginNotAvailable},
		{errdefs.New(errdefs.ErrExhausted, "x"), types.ErrTryAgainLater, types.ErrPluginNotAvailable},
		{errdefs.Unavailable("x"), types.ErrTryAgainLater, types.ErrPluginNotAvailable},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EIO}, types.ErrIOFailure, types.ErrPluginNotAvailable},
		{fmt.Errorf("x: %w", syscall.ENOSPC), types.ErrIOFailure, types.ErrPluginNotAvailable},
		{fmt.Errorf("delegate: %w", types.NewError(123, "x", "")), 123, 123},
		{errors.New("x"), types.ErrInternal, types.ErrPluginNotAvailable},
	} {
		for command, want := range map[string]uint{"DEL": tc.del, "STATUS": tc.status} {
			status, answer := run(t, env(command, nil), conf, tc.err)
			if status != 1 || answer["code"] != float64(want) || answer["msg"] != tc.err.Error() || answer["cniVersion"] != "1.1.0" {
				t.Errorf("%s, %v: status %d, answer %v, want code %d", command, tc.err, status, answer, want)
			}
		}
	}
}

func TestWithCodeKeepsNilAndCause(t *testing.T) {
	if plugin.WithCode(7, nil) != nil {
		t.Error("an error of nothing")
	}
	if !errors.Is(plugin.WithCode(7, fs.ErrExist), fs.ErrExist) {
		t.Error("lost the cause")
	}
}

func TestSuccess(t *testing.T) {
	for _, command := range []string{"DEL", "STATUS", "VERSION"} {
		if status, answer := run(t, env(command, nil), conf, nil); status != 0 || (answer != nil) != (command == "VERSION") {
			t.Errorf("%s: status %d, answer %v", command, status, answer)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		env   map[string]string
		stdin string
		code  uint
	}{
		"no command":            {env("", nil), conf, types.ErrInvalidEnvironmentVariables},
		"unknown command":       {env("EAT", nil), conf, types.ErrInvalidEnvironmentVariables},
		"no container":          {env("DEL", map[string]string{"CNI_CONTAINERID": ""}), conf, types.ErrInvalidEnvironmentVariables},
		"container with a path": {env("DEL", map[string]string{"CNI_CONTAINERID": "../c"}), conf, types.ErrInvalidEnvironmentVariables},
		"interface with a path": {env("DEL", map[string]string{"CNI_IFNAME": "a/b"}), conf, types.ErrInvalidEnvironmentVariables},
		"long interface":        {env("DEL", map[string]string{"CNI_IFNAME": "sixteen-letters-"}), conf, types.ErrInvalidEnvironmentVariables},
		"args without a value":  {env("DEL", map[string]string{"CNI_ARGS": "IP"}), conf, types.ErrInvalidEnvironmentVariables},
		"endless args":          {env("DEL", map[string]string{"CNI_ARGS": "A=" + strings.Repeat("x", 1<<20)}), conf, types.ErrInvalidEnvironmentVariables},
		"namespace is gone":     {env("ADD", nil), conf, types.ErrUnknownContainer},
		"namespace is a file":   {env("ADD", map[string]string{"CNI_NETNS": "/etc/passwd"}), conf, types.ErrInvalidNetNS},
		"namespace of the host": {env("ADD", map[string]string{"CNI_NETNS": "/proc/self/ns/net"}), conf, types.ErrInvalidNetNS},
		"nothing on stdin":      {env("DEL", nil), "", types.ErrDecodingFailure},
		"endless stdin":         {env("DEL", nil), conf + strings.Repeat(" ", 9<<20), types.ErrDecodingFailure},
		"check of version 0.3":  {env("CHECK", map[string]string{"CNI_NETNS": "/etc/passwd"}), strings.Replace(conf, "1.1.0", "0.3.1", 1), types.ErrIncompatibleCNIVersion},
		"nameless attachment":   {env("GC", nil), `{"cniVersion":"1.1.0","name":"n","cni.dev/valid-attachments":[{"containerID":"x"}]}`, types.ErrInvalidNetworkConfig},
	} {
		if status, answer := run(t, tc.env, tc.stdin, nil); status != 1 || answer["code"] != float64(tc.code) {
			t.Errorf("%s: status %d, answer %v, want code %d", name, status, answer, tc.code)
		}
	}
}

func TestDelGoesOnWithoutANamespace(t *testing.T) {
	for _, path := range []string{"", "/no/such/namespace", "/etc/passwd", "/proc/self/ns/net"} {
		if status, answer := run(t, env("DEL", map[string]string{"CNI_NETNS": path}), conf, nil); status != 0 {
			t.Errorf("CNI_NETNS=%q: %v", path, answer)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("ADD", []byte(conf))
	f.Add("CHECK", []byte(`{"cniVersion":"0.4.0","name":"n","prevResult":{"interfaces":[{"name":"eth0"}],"ips":[{"version":"4","address":"10.0.0.2/24","interface":0}]}}`))
	f.Add("DEL", []byte(`{"cniVersion":"0.2.0","name":"n","prevResult":{"ip4":{"ip":"10.0.0.2/24"}}}`))
	f.Add("GC", []byte(`{"cniVersion":"1.1.0","name":"n","cni.dev/valid-attachments":[{"containerID":"a","ifname":"b"}]}`))
	f.Add("ADD", []byte(`{"cniVersion":"1.1.0","name":"n","prevResult":{"ips":[null],"interfaces":[null],"routes":[null]}}`))
	f.Fuzz(func(t *testing.T, command string, data []byte) {
		c, err := plugin.ParseConfig(command, data)
		if err != nil || c.Prev == nil {
			return
		}
		for _, ip := range c.Prev.IPs {
			if ip.Interface != nil {
				_ = c.Prev.Interfaces[*ip.Interface].Name // must be there
			}
		}
	})
}

func FuzzParseArgs(f *testing.F) {
	f.Add("IgnoreUnknown=1;IP=10.0.0.1;K8S_POD_NAME=x")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = plugin.ParseArgs(text) })
}
