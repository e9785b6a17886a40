package imagestore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/manifest"
	"github.com/berth-runtime/berth/imagestore/records"
	"github.com/berth-runtime/berth/imagestore/reference"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// minPrefix is the shortest part of an ID that is taken for one.
const minPrefix = 4

// Resolve finds an image by ID (also a unique prefix of it), tag or digest, or returns an error of kind NotFound.
func (s *Store) Resolve(ctx context.Context, refOrID string) (Image, error) {
	_, leave, err := s.enter(ctx)
	if err != nil {
		return Image{}, err
	}
	defer leave()
	m, err := s.find(refOrID)
	if err != nil {
		return Image{}, err
	}
	return s.image(m)
}

// List returns all images, sorted by ID.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	found, err := s.records.Images()
	if err != nil {
		return nil, err
	}
	list := make([]Image, 0, len(found))
	for _, m := range found {
		img, err := s.image(m)
		if err != nil {
			s.report(ctx, "image left out of the list", err)
			continue
		}
		list = append(list, img)
	}
	return list, nil
}

// find goes from the most exact meaning to the least: an ID, a name, the start of an ID.
func (s *Store) find(refOrID string) (records.Image, error) {
	if d, err := reference.ParseDigest(refOrID); err == nil {
		return s.records.Image(d)
	}
	if len(refOrID) == 64 && isHex(refOrID) {
		return s.records.Image(digest.Digest("sha256:" + refOrID))
	}
	hex, said := strings.CutPrefix(refOrID, "sha256:")
	isPrefix := len(hex) >= minPrefix && len(hex) <= 64 && isHex(hex)
	if said && isPrefix {
		return s.records.ByPrefix(hex)
	}
	ref, err := reference.Parse(refOrID)
	if err != nil {
		return records.Image{}, err
	}
	m, err := s.byReference(ref)
	if errors.Is(err, errdefs.ErrNotFound) && isPrefix {
		return s.records.ByPrefix(hex)
	}
	return m, err
}

func (s *Store) byReference(ref reference.Reference) (records.Image, error) {
	if ref.Digest != "" {
		return s.records.ByName(ref.WithDigest(ref.Digest))
	}
	return s.records.ByName(ref.Tagged())
}

// image completes a record with its config and sizes.
func (s *Store) image(m records.Image) (Image, error) {
	raw, err := s.records.Blob(m.ID)
	if err != nil {
		return Image{}, fmt.Errorf("config of image %s: %w", m.ID, err)
	}
	config, err := manifest.DecodeConfig(raw)
	if err != nil {
		return Image{}, fmt.Errorf("config of image %s: %w", m.ID, err)
	}
	img := Image{
		ID: m.ID.String(), Tags: m.Tags, Digests: m.Digests, Config: config, Layers: m.Layers,
		Size: int64(len(raw)) + s.refs.sizeOf(m.Layers),
	}
	for _, d := range m.Manifests {
		raw, err := s.records.Blob(d)
		if err != nil {
			return Image{}, fmt.Errorf("manifest of image %s: %w", m.ID, err)
		}
		img.Size += int64(len(raw))
	}
	for _, tag := range m.Tags {
		img.Pinned = img.Pinned || s.pinned[tag]
	}
	for _, name := range m.Digests {
		img.Pinned = img.Pinned || s.pinned[name]
	}
	return img, nil
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }
