package oci

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/quickjson"
	"github.com/berth-runtime/berth/internal/sys"
)

// maxConfig bounds config.json. The largest real ones, with long seccomp profiles, are below 200 KB.
const maxConfig = 16 << 20

// bundle is a folder with a configuration.
type bundle struct {
	dir  string // absolute
	data []byte // of config.json
	spec *specs.Spec
}

// readBundle reads the configuration in a bundle. The result's paths are absolute.
func readBundle(dir string) (*bundle, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b := &bundle{dir: dir}
	b.data, err = sys.ReadRegular(filepath.Join(dir, configFile), maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.NotFound("JSON specification file config.json not found: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if b.spec, err = decodeSpec(b.data, dir); err != nil {
		return nil, err
	}
	return b, nil
}

// decodeSpec reads a configuration and makes the paths that are relative to the bundle absolute (runtime-spec, config.md,
// "Root" and "Mounts").
func decodeSpec(data []byte, bundle string) (*specs.Spec, error) {
	var s specs.Spec
	if err := quickjson.Unmarshal(data, &s); err != nil {
		return nil, errdefs.Invalid("config.json: %w", err)
	}
	if err := checkVersion(s.Version); err != nil {
		return nil, err
	}
	if s.Root == nil || s.Root.Path == "" {
		return nil, errdefs.Invalid("root.path: missing")
	}
	s.Root.Path = below(bundle, s.Root.Path)
	for i := range s.Mounts {
		m := &s.Mounts[i]
		bind := m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
		if bind && m.Source != "" {
			m.Source = below(bundle, m.Source)
		}
		if m.Destination != "" && m.Destination[0] != '/' { // deprecated: relative to the root
			m.Destination = "/" + m.Destination
		}
	}
	if s.Linux == nil {
		s.Linux = &specs.Linux{}
	}
	return &s, nil
}

func below(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// checkVersion takes every 1.x, as minor versions only add (semver.org, 8).
func checkVersion(v string) error {
	major, rest, ok := strings.Cut(v, ".")
	if !ok || major != "1" || rest == "" {
		return errdefs.Invalid("ociVersion: %.20q is not a version 1.x", v)
	}
	return nil
}
