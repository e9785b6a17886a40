package overlay

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// maxRecord bounds the record files; the largest names 128 layers.
const maxRecord = 64 << 10

// layerInfo is layer.json.
type layerInfo struct {
	Bytes      uint64 `json:"bytes"`
	Inodes     uint64 `json:"inodes"`
	Whiteouts  bool   `json:"whiteouts,omitempty"`  // it holds some, so it can't be shown without overlayfs
	RootEntry  bool   `json:"rootEntry,omitempty"`  // it says what the root folder is like
	OpaqueRoot bool   `json:"opaqueRoot,omitempty"` // nothing of the layers below it shows
}

// snapshotInfo is snapshot.json.
type snapshotInfo struct {
	Layers []digest.Digest `json:"layers"` // what the snapshot was made on, lowest first
	Lower  []digest.Digest `json:"lower"`  // those that show, topmost first
	Boot   string          `json:"boot"`   // the kernel's boot_id when it was made
}

func parseLayerInfo(data []byte) (i layerInfo, err error) {
	if err := json.Unmarshal(data, &i); err != nil {
		return layerInfo{}, errdefs.New(errdefs.ErrDataLoss, "parse layer.json: %w", err)
	}
	return i, nil
}

func parseSnapshotInfo(data []byte) (i snapshotInfo, err error) {
	if err := json.Unmarshal(data, &i); err != nil {
		return snapshotInfo{}, errdefs.New(errdefs.ErrDataLoss, "parse snapshot.json: %w", err)
	}
	for _, list := range [][]digest.Digest{i.Layers, i.Lower} {
		if len(list) > maxLayers {
			return snapshotInfo{}, errdefs.New(errdefs.ErrDataLoss, "parse snapshot.json: %d layers", len(list))
		}
		for _, d := range list {
			if _, err := layerName(d); err != nil {
				return snapshotInfo{}, errdefs.New(errdefs.ErrDataLoss, "parse snapshot.json: %w", err)
			}
		}
	}
	return i, nil
}

func writeRecord(d *sys.Dir, name string, record any) error {
	data, err := json.Marshal(record)
	if err != nil {
		return errdefs.Bug("encode %s: %w", name, err)
	}
	f, err := d.Create(name, 0o600)
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// layerName turns a digest into a folder's name. Only sha256 in its one spelling is let through: the text comes from an
// image's config.
func layerName(d digest.Digest) (string, error) {
	hex, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", errdefs.Invalid("layer digest %.100q: must be sha256 in 64 lower-case hexadecimal digits", string(d))
	}
	return "sha256-" + hex, nil
}

func layerDigest(name string) (digest.Digest, bool) {
	hex, ok := strings.CutPrefix(name, "sha256-")
	d := digest.Digest("sha256:" + hex)
	_, err := layerName(d)
	return d, ok && err == nil
}

// checkKey accepts what is safe as a folder's name, and can't be taken for one of the driver's own.
func checkKey(key string) error {
	if key == "" || len(key) > 200 || key[0] == '.' {
		return errdefs.Invalid("snapshot key %.220q: must be 1 to 200 bytes and not begin with a dot", key)
	}
	for _, c := range []byte(key) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return errdefs.Invalid("snapshot key %.220q: only letters, digits, dot, dash and underscore may be in it", key)
		}
	}
	return nil
}
