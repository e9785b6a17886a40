package imagestore

import (
	"context"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/imagestore/manifest"
	"github.com/berth-runtime/berth/imagestore/registry"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// maxIndexDepth bounds indexes within indexes; real ones have one level.
const maxIndexDepth = 3

// manifest goes from the name to the manifest of the image for the platform.
func (p *pull) manifest(ctx context.Context) (*manifest.Image, error) {
	got, err := p.session.Manifest(ctx, p.ref.Tag, p.ref.Digest)
	if err != nil {
		return nil, err
	}
	p.top = got.Digest
	for range maxIndexDepth {
		p.blobs[got.Digest], p.chain = got.Data, append(p.chain, got.Digest)
		doc, err := manifest.Decode(got.Data, got.MediaType)
		if err != nil {
			return nil, err
		}
		if doc.Image != nil {
			return doc.Image, nil
		}
		d, err := doc.Index.Select(p.platform)
		if err != nil {
			return nil, err
		}
		if got, err = p.document(ctx, d); err != nil {
			return nil, err
		}
	}
	return nil, errdefs.Invalid("index within index, more than %d deep", maxIndexDepth)
}

// document fetches what an index refers to, unless it is here.
func (p *pull) document(ctx context.Context, d ocispec.Descriptor) (registry.Manifest, error) {
	if raw, err := p.store.records.Blob(d.Digest); err == nil {
		return registry.Manifest{Digest: d.Digest, MediaType: d.MediaType, Data: raw}, nil
	}
	got, err := p.session.Manifest(ctx, "", d.Digest)
	if err != nil {
		return got, err
	}
	if int64(len(got.Data)) != d.Size {
		return got, errdefs.New(errdefs.ErrDataLoss, "manifest %s has %d bytes, the index promised %d", d.Digest, len(got.Data), d.Size)
	}
	if d.MediaType != "" {
		got.MediaType = d.MediaType
	}
	return got, nil
}

// config fetches and checks the config, and returns the diffIDs.
func (p *pull) config(ctx context.Context, m *manifest.Image) ([]digest.Digest, error) {
	raw, err := p.store.records.Blob(m.Config.Digest)
	if err != nil {
		if raw, err = p.session.Blob(ctx, m.Config, manifest.MaxConfig); err != nil {
			return nil, err
		}
	}
	config, err := manifest.DecodeConfig(raw)
	if err != nil {
		return nil, err
	}
	if err := manifest.CheckPlatform(config.Platform, p.platform); err != nil {
		return nil, err
	}
	p.blobs[m.Config.Digest] = raw
	return config.RootFS.DiffIDs, m.CheckDiffIDs(config.RootFS.DiffIDs)
}
