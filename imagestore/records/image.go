package records

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/reference"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Image is one image's record.
type Image struct {
	ID        digest.Digest   `json:"id"`        // of the config
	Tags      []string        `json:"tags"`      // sorted
	Digests   []string        `json:"digests"`   // name@digest, sorted
	Manifests []digest.Digest `json:"manifests"` // raw documents that led to the config: indexes and manifests
	Layers    []digest.Digest `json:"layers"`    // diffIDs, lowest first
	Pulled    time.Time       `json:"pulled"`
}

func (m *Image) encode() ([]byte, error) { return json.Marshal(m) }

// decode reads a record and checks all that becomes a key or a path later.
func decode(id string, data []byte) (Image, error) {
	var m Image
	if err := json.Unmarshal(data, &m); err != nil {
		return Image{}, errdefs.New(errdefs.ErrDataLoss, "decode record of image %s: %w", id, err)
	}
	if string(m.ID) != id {
		return Image{}, errdefs.New(errdefs.ErrDataLoss, "decode record of image %s: it is that of %q", id, m.ID)
	}
	for _, d := range slices.Concat([]digest.Digest{m.ID}, m.Manifests, m.Layers) {
		if _, err := reference.ParseDigest(string(d)); err != nil {
			return Image{}, errdefs.New(errdefs.ErrDataLoss, "decode record of image %s: %w", id, err)
		}
	}
	return m, nil
}

// names are all keys under which an image is found.
func (m *Image) names() []string { return slices.Concat(m.Tags, m.Digests) }

// with returns a sorted list with an item in it, once.
func with[T ~string](list []T, item T) []T {
	i, found := slices.BinarySearch(list, item)
	if item == "" || found {
		return list
	}
	return slices.Insert(slices.Clone(list), i, item)
}

func without(list []string, item string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == item })
}
