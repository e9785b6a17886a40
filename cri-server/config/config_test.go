package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/cri-server/config"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestTheFileOfTheManualIsRead(t *testing.T) {
	const text = `
root = "/srv/berth"            # images and layers
state = "/run/other"
listen = "/run/other/x.sock"
[cni]
conf_dir = "/etc/cni/other"
bin_dirs = ["/opt/cni/bin"]
plugin_timeout = "90s"
[registry]
certs_dir = "/etc/other"
`
	got, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Root, want.State, want.Listen = "/srv/berth", "/run/other", "/run/other/x.sock"
	want.CNI = config.CNI{ConfDir: "/etc/cni/other", BinDirs: []string{"/opt/cni/bin"}, PluginTimeout: config.Duration(90 * time.Second), GCInterval: config.Duration(10 * time.Minute)}
	want.Registry.CertsDir = "/etc/other"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestFaultsOfTheFileNameTheLineAndTheRemedy(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"misspelt", "state = \"/a\"\nrooot = \"/x\"", `line 2: unknown key "rooot"; did you mean "root"?`},
		{"misspelt in a table", "[cni]\n\nconfdir = \"/x\"", `line 3: unknown key "cni.confdir"; did you mean "cni.conf_dir"?`},
		{"misspelt table", "[registri]\ncerts_dir = \"/x\"", `did you mean "registry"?`},
		{"in the wrong table", "bin_dirs = []", `line 1: unknown key "bin_dirs"; did you mean "cni.bin_dirs"?`},
		{"both of two", "a = 1\nrot = 2", `line 2: unknown key "rot"; did you mean "root"?`},
		{"wrong type", "root = 3", `line 1, column 8: `},
		{"no time", "[cni]\ngc_interval = \"often\"", `line 2, column 15: "often" is no time like "1m30s"`},
		{"no TOML", "root = ", `line 1, column 7: `},
		{"twice", "root = \"/a\"\nroot = \"/b\"", `line 2, column 1: `},
		{"long key", strings.Repeat("k", 5000) + " = 1", `line 1: unknown key "kkk`},
		{"too long", strings.Repeat("#", 1<<20+1), "more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse([]byte(tt.text))
			if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want ErrInvalid with %q", err, tt.want)
			}
		})
	}
}

func TestDefaultsPassAndSurviveMarshal(t *testing.T) {
	want := config.Default().Apply(config.Overrides{}, "/usr/bin/berthd")
	if err := want.Check(); err != nil {
		t.Fatal(err)
	}
	data, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse(data)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestApply(t *testing.T) {
	c := config.Default().Apply(config.Overrides{Root: "/r", State: "/s", LogLevel: "debug"}, "/opt/b/berthd")
	got := []string{c.Root, c.State, c.Listen, c.Log.Level, c.Keeper.Binary}
	want := []string{"/r", "/s", "/s/berth.sock", "debug", "/opt/b/berth-keeper"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if c.Cgroup.Parent == "/berth" || !strings.HasPrefix(c.Cgroup.Parent, "/berth-") || c.CNI.Default == "berth" || len(c.CNI.Default) > 14 {
		t.Fatalf("a daemon with a state folder of its own shares %s and %s", c.Cgroup.Parent, c.CNI.Default)
	}
	if usual := config.Default().Apply(config.Overrides{}, "/opt/b/berthd"); usual.Cgroup.Parent != "/berth" || usual.CNI.Default != "berth" {
		t.Fatalf("the usual names are %s and %s", usual.Cgroup.Parent, usual.CNI.Default)
	}
	dirs := []string{"/opt/b/cni", "/opt/lib/berth/cni", "/usr/lib/berth/cni", "/opt/cni/bin", "/usr/lib/cni"}
	if diff := cmp.Diff(dirs, c.CNI.BinDirs); diff != "" {
		t.Fatal(diff)
	}
	c.Listen, c.Keeper.Binary = "/elsewhere", "/k"
	c = c.Apply(config.Overrides{State: "/t"}, "/opt/b/berthd")
	if c.Listen != "/elsewhere" || c.Keeper.Binary != "/k" {
		t.Fatalf("what the file says was lost: %+v", c)
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		want   string
	}{
		{"relative root", func(c *config.Config) { c.Root = "var" }, `root: "var" is not absolute`},
		{"state is /", func(c *config.Config) { c.State = "/" }, `state: "/" is not a clean path below /`},
		{"dots", func(c *config.Config) { c.CNI.ConfDir = "/etc/../x" }, "cni.conf_dir: "},
		{"long socket", func(c *config.Config) { c.Listen = "/" + strings.Repeat("a", 107) }, "listen: "},
		{"long state", func(c *config.Config) { c.State = "/" + strings.Repeat("a", 90) }, "state: "},
		{"nested", func(c *config.Config) { c.State = c.Root + "/state" }, "one holds the other"},
		{"no plugins", func(c *config.Config) { c.CNI.BinDirs = []string{} }, "cni.bin_dirs: is empty"},
		{"relative plugins", func(c *config.Config) { c.CNI.BinDirs = []string{"bin"} }, "cni.bin_dirs: "},
		{"open stream", func(c *config.Config) { c.Stream.Address = "0.0.0.0:0" }, "not a loopback address"},
		{"named stream", func(c *config.Config) { c.Stream.Address = "localhost:0" }, "stream.address: "},
		{"long network", func(c *config.Config) { c.CNI.Default = "a-name-of-15-by" }, "cni.default_network: "},
		{"network of one letter", func(c *config.Config) { c.CNI.Default = "a" }, "cni.default_network: "},
		{"odd network", func(c *config.Config) { c.CNI.Default = "a/b" }, "cni.default_network: "},
		{"no time for plugins", func(c *config.Config) { c.CNI.PluginTimeout = 0 }, "cni.plugin_timeout: 0s is not between 1s and 3m0s"},
		{"more time than the kubelet has", func(c *config.Config) { c.CNI.PluginTimeout = config.Duration(time.Hour) }, "cni.plugin_timeout: "},
		{"GC all the time", func(c *config.Config) { c.CNI.GCInterval = config.Duration(time.Second) }, "cni.gc_interval: "},
		{"driver", func(c *config.Config) { c.Cgroup.Driver = "systemd2" }, `cgroup.driver: "systemd2"`},
		{"path for systemd", func(c *config.Config) { c.Cgroup.Driver = config.Systemd }, `cgroup.parent: "/berth"`},
		{"slice for cgroupfs", func(c *config.Config) { c.Cgroup.Parent = "berth.slice" }, `cgroup.parent: "berth.slice"`},
		{"level", func(c *config.Config) { c.Log.Level = "loud" }, `log.level: "loud"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config.Default().Apply(config.Overrides{}, "/usr/bin/berthd")
			tt.change(&c)
			err := c.Check()
			if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want ErrInvalid with %q", err, tt.want)
			}
		})
	}
}

func TestSystemdHasASliceByDefault(t *testing.T) {
	c, err := config.Parse([]byte("[cgroup]\ndriver = \"systemd\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	c = c.Apply(config.Overrides{}, "/usr/bin/berthd")
	if err := c.Check(); err != nil || c.Cgroup.Parent != "berth.slice" {
		t.Fatalf("parent %q, %v", c.Cgroup.Parent, err)
	}
}

func TestLoad(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a file that was asked for may not be absent: %v", err)
	}
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte("rot=1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(path); err == nil || !strings.HasPrefix(err.Error(), path+": line 1: ") {
		t.Fatalf("got %v, want the path and the line", err)
	}
}

func TestSocketPath(t *testing.T) {
	for in, want := range map[string]string{
		"/run/x.sock": "/run/x.sock", "unix:///run/x.sock": "/run/x.sock", "": "", "unix://": "", "tcp://1.2.3.4:5": "", "run/x": "", "unix://run/x": "",
	} {
		got, err := config.SocketPath(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("SocketPath(%q) = %q, %v", in, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("root = \"/x\"\n[cni]\nbin_dirs = [\"/a\"]\n"))
	f.Add([]byte("[cni.x]\ny = 1\n[[registry]]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse(data)
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", err)
			}
			return
		}
		if c.Apply(config.Overrides{}, "/usr/bin/berthd").Check() == nil && !filepath.IsAbs(c.Root) {
			t.Fatalf("a relative root passed: %q", c.Root)
		}
	})
}
