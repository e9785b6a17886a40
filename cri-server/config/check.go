package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Limits of paths. A unix socket's is sun_path (108 bytes with its NUL, unix(7)). The CRI socket needs room for the
// suffix under which it is made, the state folder for the keeper's socket below it.
const (
	maxSocket = 107 - len(".new")
	maxState  = 107 - len("/keeper/keeper.sock")
)

// pluginTimeoutMost leaves time to undo a RunPodSandbox whose plugin hung before the kubelet gives up, after four minutes at most
// (pod.Config.Limit).
const pluginTimeoutMost = 3 * time.Minute

// Check returns every fault of c at once, each naming its key. It expects what [Config.Apply] returns.
func (c Config) Check() error {
	errs := []error{
		checkPath("root", c.Root, 1024),
		checkPath("state", c.State, maxState),
		checkPath("listen", c.Listen, maxSocket),
		checkPath("keeper.binary", c.Keeper.Binary, 1024),
		checkPath("cni.conf_dir", c.CNI.ConfDir, 1024),
		checkPath("registry.certs_dir", c.Registry.CertsDir, 1024),
		checkCgroup(c.Cgroup),
		checkStream(c.Stream.Address),
		checkNetwork(c.CNI.Default),
		checkDuration("cni.plugin_timeout", c.CNI.PluginTimeout, time.Second, pluginTimeoutMost),
		checkDuration("cni.gc_interval", c.CNI.GCInterval, 10*time.Second, 24*time.Hour),
	}
	if len(c.CNI.BinDirs) == 0 {
		errs = append(errs, errdefs.Invalid("cni.bin_dirs: is empty; name at least one folder of plugins"))
	}
	for _, dir := range c.CNI.BinDirs {
		errs = append(errs, checkPath("cni.bin_dirs", dir, 1024))
	}
	if _, err := c.Log.Threshold(); err != nil {
		errs = append(errs, err)
	}
	if within(c.Root, c.State) || within(c.State, c.Root) {
		errs = append(errs, errdefs.Invalid("root %s and state %s: one holds the other; give each a folder of its own", c.Root, c.State))
	}
	return errors.Join(errs...)
}

func checkPath(key, path string, limit int) error {
	switch {
	case path == "":
		return errdefs.Invalid("%s: is empty; give an absolute path", key)
	case !filepath.IsAbs(path):
		return errdefs.Invalid("%s: %q is not absolute", key, path)
	case filepath.Clean(path) != path || path == "/":
		return errdefs.Invalid("%s: %q is not a clean path below /", key, path)
	case strings.ContainsAny(path, "\x00\n"):
		return errdefs.Invalid("%s: %q holds a control character", key, path)
	case len(path) > limit:
		return errdefs.Invalid("%s: %q has %d bytes; the limit is %d", key, path, len(path), limit)
	}
	return nil
}

func checkCgroup(c Cgroup) error {
	switch c.Driver {
	case Cgroupfs:
		return checkPath("cgroup.parent", c.Parent, 1024)
	case Systemd:
		if !strings.HasSuffix(c.Parent, ".slice") || strings.Contains(c.Parent, "/") || len(c.Parent) > 200 {
			return errdefs.Invalid("cgroup.parent: %.250q is not the name of a slice, as the systemd driver wants it", c.Parent)
		}
		return nil
	}
	return errdefs.Invalid("cgroup.driver: %.50q is none of cgroupfs, systemd", c.Driver)
}

// checkStream refuses anything but loopback: whoever reaches the streaming server within a token's minute runs commands
// in a container.
func checkStream(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return errdefs.Invalid("stream.address: %w; give one like 127.0.0.1:0", err)
	}
	if !ap.Addr().IsLoopback() {
		return errdefs.Invalid("stream.address: %s is not a loopback address", ap.Addr())
	}
	return nil
}

// checkNetwork holds for a network's name (CNI 1.1, section 1, of which libcni wants two characters) and for that of a link, of 15 bytes, with a 0 behind it.
func checkNetwork(name string) error {
	if !regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,13}$`).MatchString(name) {
		return errdefs.Invalid("cni.default_network: %q is not 2 to 14 of [A-Za-z0-9_.-], the first a letter or digit", name)
	}
	return nil
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// Threshold returns the least level that is logged.
func (l Log) Threshold() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return 0, errdefs.Invalid("log.level: %q is none of debug, info, warn, error", l.Level)
	}
	return level, nil
}

// SocketPath accepts the two ways of writing a unix socket, "unix:///run/x.sock" (kubelet, crictl) and a plain path.
func SocketPath(listen string) (string, error) {
	path := strings.TrimPrefix(listen, "unix://")
	if path == "" || strings.Contains(path, "://") {
		return "", errdefs.Invalid("%q is not a unix socket; give its path or unix://PATH", listen)
	}
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q: %w", listen, errdefs.Invalid("not an absolute path"))
	}
	return path, nil
}
