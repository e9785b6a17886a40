package imagestore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/imagestore/manifest"
	"github.com/berth-runtime/berth/imagestore/records"
	"github.com/berth-runtime/berth/imagestore/reference"
	"github.com/berth-runtime/berth/imagestore/registry"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// PullRequest asks for one image.
type PullRequest struct {
	Ref      string // any name that Docker accepts: busybox, localhost:5000/a/b:tag, repo@sha256:…
	Auth     registry.Auth
	Platform string         // "linux/arm64/v8"; "" = this host's
	Progress func(Progress) // may be nil; called a few times a second, never after Pull returned
}

// Pull makes an image of a registry available and returns it once it would survive a power cut. The registry is asked in
// any case, so that a tag is up to date and the login is checked. With tag and digest, the digest says what is pulled.
// An error tells the stage and each host's answer; when the context is over, it is the context's. What was fetched so
// far is kept for the next try, but not visible.
func (s *Store) Pull(ctx context.Context, r PullRequest) (Image, error) {
	ref, err := reference.Parse(r.Ref)
	if err != nil {
		return Image{}, err
	}
	platform, err := manifest.ParsePlatform(r.Platform)
	if err != nil {
		return Image{}, err
	}
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return Image{}, err
	}
	defer leave()
	session, err := s.registry.Session(ref, r.Auth)
	if err != nil {
		return Image{}, fmt.Errorf("pull %s: %w", ref, err)
	}
	defer session.Close()
	m := newMeter(r.Progress)
	defer m.close()
	p := &pull{store: s, ref: ref, session: session, platform: platform, meter: m, blobs: map[digest.Digest][]byte{}}
	img, err := p.run(ctx)
	if err != nil {
		return Image{}, fmt.Errorf("pull %s: %w%s", ref, err, hint(err, r.Auth))
	}
	return img, nil
}

// hint says what to do about refusals; registries answer the same for what is private and what isn't there.
func hint(err error, a registry.Auth) string {
	switch refused := errors.Is(err, errdefs.ErrUnauthenticated) || errors.Is(err, errdefs.ErrPermission); {
	case refused && a == registry.Auth{}:
		return " (there is no such image, or it needs a login: none was given)"
	case refused:
		return " (there is no such image, or the login given doesn't allow to pull it)"
	}
	return ""
}

// pull is one request on its way.
type pull struct {
	store    *Store
	ref      reference.Reference
	session  *registry.Session
	platform ocispec.Platform
	meter    *meter

	top   digest.Digest   // what the name means: an index or a manifest
	chain []digest.Digest // from top to the image's manifest
	blobs map[digest.Digest][]byte
}

func (p *pull) run(ctx context.Context) (Image, error) {
	if img, done, err := p.unchanged(ctx); done || err != nil {
		return img, err
	}
	m, err := p.manifest(ctx)
	if err != nil {
		return Image{}, err
	}
	layers, err := p.config(ctx, m)
	if err != nil {
		return Image{}, err
	}
	if err := p.store.refs.hold(ctx, layers); err != nil {
		return Image{}, err
	}
	if err := p.layers(ctx, m, layers); err != nil {
		return Image{}, err
	}
	return p.commit(ctx, m, layers)
}

// unchanged asks only what the name means now. If the image is here, that is all there is to do.
func (p *pull) unchanged(ctx context.Context) (_ Image, done bool, _ error) {
	img, here := p.here()
	if !here {
		return Image{}, false, nil
	}
	now, err := p.session.Head(ctx, p.ref.Tag, p.ref.Digest)
	if errors.Is(err, errdefs.ErrUnavailable) {
		return Image{}, false, err
	}
	// Other errors: some registries know no HEAD. GET shows what is wrong.
	return img, err == nil && slices.Contains(img.Digests, p.ref.WithDigest(now)), nil
}

// here finds what the name meant at an earlier pull for the same platform, if that is complete.
func (p *pull) here() (Image, bool) {
	m, err := p.store.byReference(p.ref)
	if err != nil {
		return Image{}, false
	}
	img, err := p.store.image(m)
	if err != nil {
		return Image{}, false
	}
	return img, manifest.CheckPlatform(img.Config.Platform, p.platform) == nil && p.store.refs.complete(m.Layers) == nil
}

// commit makes the image visible.
func (p *pull) commit(ctx context.Context, m *manifest.Image, layers []digest.Digest) (Image, error) {
	s := p.store
	p.meter.enter("commit", p.meter.now().Total)
	record := records.Image{
		ID: m.Config.Digest, Digests: []string{p.ref.WithDigest(p.top)}, Manifests: p.chain, Layers: layers, Pulled: time.Now().UTC(),
	}
	if p.ref.Digest == "" {
		record.Tags = []string{p.ref.Tagged()}
	}
	created, err := s.records.Commit(record, p.blobs, p.last())
	if err != nil {
		return Image{}, errors.Join(fmt.Errorf("commit: %w", err), s.refs.drop(ctx, layers))
	}
	surplus := s.kept.take(p.last()).Layers
	if !created { // the record that was there holds them already
		surplus = append(surplus, layers...)
	}
	s.report(ctx, "unneeded layers stay", s.refs.drop(ctx, surplus), s.expire(ctx, time.Now().Add(-keepFor)))
	stored, err := s.records.Image(record.ID)
	if err != nil {
		return Image{}, err
	}
	return s.image(stored)
}

// last is the digest of the image's own manifest.
func (p *pull) last() digest.Digest { return p.chain[len(p.chain)-1] }
