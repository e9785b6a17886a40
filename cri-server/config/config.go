package config

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"
	"time"
)

// DefaultPath is where berthd looks for its file when --config is not given. That file may be absent.
const DefaultPath = "/etc/berth/config.toml"

const defaultState = "/run/berth"

// Config is everything that can be set.
type Config struct {
	Root   string `toml:"root" comment:"images and layers; on a disk"`
	State  string `toml:"state" comment:"sockets, namespaces and records; on tmpfs, as nothing in it outlives a reboot"`
	Listen string `toml:"listen" comment:"unix socket of the CRI server; STATE/berth.sock when not set"`

	CNI      CNI      `toml:"cni"`
	Registry Registry `toml:"registry"`
	Cgroup   Cgroup   `toml:"cgroup"`
	Stream   Stream   `toml:"stream"`
	Keeper   Keeper   `toml:"keeper"`
	Log      Log      `toml:"log"`
}

// CNI says where the networks come from.
type CNI struct {
	ConfDir string   `toml:"conf_dir" comment:"*.conflist; with none of them, and no kubelet about, the built-in network is used"`
	BinDirs []string `toml:"bin_dirs" comment:"searched in this order for plugins; when not set, those that came with berthd and then /usr/lib/berth/cni, /opt/cni/bin, /usr/lib/cni"`
	Default string   `toml:"default_network" comment:"name of the built-in network and, with a 0 behind it, of its bridge; this daemon's own; berth when not set and state is not either"`

	PluginTimeout Duration `toml:"plugin_timeout" comment:"after which a plugin that has not ended is killed, with its process group"`
	GCInterval    Duration `toml:"gc_interval" comment:"how often the plugins are told which attachments there are, to drop what belongs to none"`
}

// Registry says how registries are reached.
type Registry struct {
	CertsDir string `toml:"certs_dir" comment:"HOST/hosts.toml and _default/hosts.toml, read at every pull"`
}

// Cgroup says who makes control groups, and where pods that name no parent go.
type Cgroup struct {
	Driver string `toml:"driver" comment:"cgroupfs, or systemd where it runs; the kubelet asks for it and does the same"`
	Parent string `toml:"parent" comment:"of pods that name none; this daemon's own: a path, or with systemd the name of a slice; /berth or berth.slice when not set and state is not either"`
}

// The cgroup drivers.
const (
	Cgroupfs = "cgroupfs"
	Systemd  = "systemd"
)

// Stream says where exec, attach and port-forward are served.
type Stream struct {
	Address string `toml:"address" comment:"loopback only; port 0 takes any free one"`
}

// Keeper says how the process that holds the containers is started.
type Keeper struct {
	Binary string `toml:"binary" comment:"berth-keeper beside berthd when not set"`
}

// Log says what is written to stderr.
type Log struct {
	Level string `toml:"level" comment:"debug, info, warn or error"`
}

// Default returns the settings that hold when nothing is said.
func Default() Config {
	return Config{
		Root:  "/var/lib/berth",
		State: defaultState,
		CNI: CNI{
			ConfDir:       "/etc/cni/net.d",
			PluginTimeout: Duration(time.Minute),
			GCInterval:    Duration(10 * time.Minute),
		},
		Registry: Registry{CertsDir: "/etc/berth/certs.d"},
		Cgroup:   Cgroup{Driver: Cgroupfs},
		Stream:   Stream{Address: "127.0.0.1:0"},
		Log:      Log{Level: "info"},
	}
}

// Overrides are the command line's settings. An empty one says nothing.
type Overrides struct {
	Root, State, Listen, LogLevel string
}

// Apply returns c with the command line's settings over it, and with what follows from other settings filled in: the
// socket lies in the state folder and the keeper beside executable unless said otherwise. What a daemon owns beside its
// folders, the control group of its pods and its built-in network, is called berth, and berth with a digest of the state
// folder where that is not the usual one, so that daemons with folders of their own run side by side.
func (c Config) Apply(o Overrides, executable string) Config {
	set := func(dst *string, v string) {
		if v != "" {
			*dst = v
		}
	}
	set(&c.Root, o.Root)
	set(&c.State, o.State)
	set(&c.Listen, o.Listen)
	set(&c.Log.Level, o.LogLevel)
	if c.Listen == "" {
		c.Listen = filepath.Join(c.State, "berth.sock")
	}
	if c.Keeper.Binary == "" {
		c.Keeper.Binary = filepath.Join(filepath.Dir(executable), "berth-keeper")
	}
	if c.CNI.BinDirs == nil {
		c.CNI.BinDirs = pluginDirs(filepath.Dir(executable))
	}
	switch {
	case c.Cgroup.Parent != "":
	case c.Cgroup.Driver == Systemd:
		c.Cgroup.Parent = c.ownName("-") + ".slice"
	default:
		c.Cgroup.Parent = "/" + c.ownName("-")
	}
	if c.CNI.Default == "" {
		c.CNI.Default = c.ownName("")
	}
	return c
}

// pluginDirs begins with the plugins that came with berthd, in a build's folder or an installation's prefix: the built-in
// network is written for those, and others of the same names would not understand it.
func pluginDirs(bin string) []string {
	var dirs []string
	for _, dir := range []string{filepath.Join(bin, "cni"), filepath.Join(bin, "..", "lib", "berth", "cni"), "/usr/lib/berth/cni", "/opt/cni/bin", "/usr/lib/cni"} {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func (c Config) ownName(separator string) string {
	if c.State == defaultState {
		return "berth"
	}
	sum := sha256.Sum256([]byte(c.State))
	return "berth" + separator + hex.EncodeToString(sum[:4])
}
