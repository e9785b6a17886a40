package plugin

import (
	"encoding/json"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// folder reads the key of a folder, and is right for DEL and GC, which must work whatever else is configured. With an error it returns
// usual: DEL goes on with that, as ADD refuses the key, so that nothing is there.
func (c Config) folder(key, usual string) (string, error) {
	dir := usual
	raw := decodeObject(c.Raw)[key]
	if raw == nil {
		return usual, nil
	}
	if err := json.Unmarshal(raw, &dir); err != nil {
		return usual, WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse %s: %w", key, err))
	}
	if !filepath.IsAbs(dir) {
		return usual, errdefs.Invalid("%s %.100q is not an absolute path", key, dir)
	}
	return dir, nil
}

// DataDir is where a plugin keeps what must outlive its process: what the key dataDir says. The usual place is on tmpfs, as a reboot ends all
// that the records are about.
func (c Config) DataDir() (string, error) { return c.folder("dataDir", "/run/berth/cni") }

// HostsDir is where files of hosts(5) go, for DNS servers to read, who may not be root: what the key hostsDir says.
func (c Config) HostsDir() (string, error) { return c.folder("hostsDir", "/run/berth/hosts") }
