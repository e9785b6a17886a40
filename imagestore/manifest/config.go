package manifest

import (
	"encoding/json"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/imagestore/reference"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const maxItems = 10_000 // of each list in a config

// DecodeConfig reads an image config: bounded lists, checked diffIDs, and no NUL bytes, which would end strings early in
// the kernel.
func DecodeConfig(data []byte) (ocispec.Image, error) {
	var c ocispec.Image
	if len(data) > MaxConfig {
		return c, errdefs.Invalid("decode image config: %d bytes are beyond the limit of %d", len(data), MaxConfig)
	}
	if err := checkJSON(data); err != nil {
		return c, errdefs.Invalid("decode image config: %w", err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, errdefs.Invalid("decode image config: %w", err)
	}
	if err := checkConfig(c); err != nil {
		return c, errdefs.Invalid("decode image config: %w", err)
	}
	return c, nil
}

func checkConfig(c ocispec.Image) error {
	if c.RootFS.Type != "layers" {
		return errdefs.Invalid("rootfs.type is %q, not \"layers\"", short(c.RootFS.Type))
	}
	if len(c.RootFS.DiffIDs) > maxLayers {
		return errdefs.Invalid("it has more than %d layers", maxLayers)
	}
	for _, d := range c.RootFS.DiffIDs {
		if _, err := reference.ParseDigest(string(d)); err != nil {
			return errdefs.Invalid("rootfs.diff_ids: %w", err)
		}
	}
	for name, n := range map[string]int{
		"Env": len(c.Config.Env), "Cmd": len(c.Config.Cmd), "Entrypoint": len(c.Config.Entrypoint),
		"Volumes": len(c.Config.Volumes), "Labels": len(c.Config.Labels), "ExposedPorts": len(c.Config.ExposedPorts), "history": len(c.History),
	} {
		if n > maxItems {
			return errdefs.Invalid("%s has more than %d entries", name, maxItems)
		}
	}
	for _, list := range [][]string{c.Config.Env, c.Config.Cmd, c.Config.Entrypoint, {c.Config.User, c.Config.WorkingDir, c.Config.StopSignal}} {
		for _, s := range list {
			if strings.ContainsRune(s, 0) {
				return errdefs.Invalid("%q has a NUL byte in it", short(s))
			}
		}
	}
	for path := range c.Config.Volumes {
		if strings.ContainsRune(path, 0) {
			return errdefs.Invalid("volume %q has a NUL byte in it", short(path))
		}
	}
	return nil
}
