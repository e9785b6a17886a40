package plugin_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/testutil"
)

type inner struct {
	Rate int `json:"rate"`
}

type sample struct {
	*inner
	MTU     int             `json:"mtu,omitempty"`
	Raw     json.RawMessage `json:"raw"`
	Hidden  int             `json:"-"`
	Runtime struct {
		MAC string `json:"mac"`
	} `json:"runtimeConfig"`
}

func TestUnknownKeys(t *testing.T) {
	known := plugin.Keys(sample{})
	if want := "[rate mtu raw runtimeConfig runtimeConfig.mac]"; fmt.Sprint(known) != want {
		t.Fatalf("keys %v, want %s", known, want)
	}
	for conf, want := range map[string]string{
		`{"cniVersion":"1.1.0","name":"n","type":"t","mtu":1,"MTU":2,"Rate":1,"args":{"cni":{"x":1}},"ipam":{"y":1}}`: "[]",
		`{"mtuu":1,"runtimeConfig":{"mac":"","dns":{}},"b":null}`:                                                     "[b mtuu runtimeConfig.dns]",
		`{"runtimeConfig":[]}`: "[]",
		`null`:                 "[]",
		`{`:                    "[]",
	} {
		if got := fmt.Sprint(plugin.UnknownKeys([]byte(conf), "", known)); got != want {
			t.Errorf("%s: %s, want %s", conf, got, want)
		}
	}
	if got := plugin.UnknownKeys([]byte(`{"x":1,"ipam":{"type":"t","mtu":1,"y":2}}`), "ipam", known); !slices.Equal(got, []string{"y"}) {
		t.Errorf("of the section: %v", got)
	}
}

func TestAddNamesUnknownKeys(t *testing.T) {
	commands := plugin.Commands{Name: "t", Keys: plugin.Keys(sample{}), Add: func(*plugin.Request) (*current.Result, error) { return &current.Result{}, nil }}
	var stderr strings.Builder
	r := &plugin.Request{Stderr: &stderr, Config: plugin.Config{Name: "net", Type: "100%d", Raw: []byte(`{"mtu":1,"mtuu":1}`)}}
	commands.WarnUnknown(r)
	if got := stderr.String(); !strings.HasPrefix(got, "100%d: network net: ") || !strings.Contains(got, `["mtuu"]`) {
		t.Errorf("stderr %q", got)
	}
}

// The test binary is the plugin in this test's children.
func TestUsage(t *testing.T) {
	if arg := os.Getenv("BERTH_TEST_USAGE"); arg != "" {
		os.Args = []string{"p", arg}
		plugin.Main(plugin.Commands{Name: "p", About: "does nothing", Keys: []string{"mtu"}})
	}
	self, err := os.Executable()
	testutil.Must(t, err)
	for arg, want := range map[string]string{"--help": "p: does nothing", "--version": "CNI plugin p, version ", "--eat": "takes no arguments but"} {
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestUsage$")
		cmd.Env = append(os.Environ(), "BERTH_TEST_USAGE="+arg)
		out, err := cmd.CombinedOutput()
		if (err != nil) != (arg == "--eat") || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %s", arg, err, out)
		}
	}
}

func FuzzUnknownKeys(f *testing.F) {
	f.Add([]byte(`{"mtu":1,"x":2,"runtimeConfig":{"y":1},"ipam":{"z":1}}`))
	known := plugin.Keys(sample{})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, section := range []string{"", "ipam"} {
			if slices.ContainsFunc(plugin.UnknownKeys(data, section, known), func(k string) bool { return strings.EqualFold(k, "mtu") }) {
				t.Fatal("a known key is unknown")
			}
		}
	})
}
