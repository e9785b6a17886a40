package imagestore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/berth-runtime/berth/imagestore/manifest"
	"github.com/berth-runtime/berth/imagestore/records"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	// atOnce is how many layers one pull fetches at a time: enough to keep two CPUs and a connection busy.
	atOnce = 4
	// maxJobs is how many layers all pulls together fetch at a time. It bounds memory, at 1.5 MB each and a zstd window.
	maxJobs = 32
)

// layers makes sure that all are here. If that fails, those that came so far are kept for the next try, in place of the
// caller's hold on them.
func (p *pull) layers(ctx context.Context, m *manifest.Image, diffIDs []digest.Digest) error {
	missing, need := p.missing(m, diffIDs)
	if len(missing) == 0 {
		return nil
	}
	free, err := p.reserve(ctx, need)
	if err != nil {
		return errors.Join(err, p.store.refs.drop(ctx, diffIDs))
	}
	defer free()
	intent := records.Pull{Layers: diffIDs, Started: time.Now().UTC()}
	if err := p.store.records.Begin(p.last(), intent); err != nil {
		return errors.Join(err, p.store.refs.drop(ctx, diffIDs))
	}
	err = p.fetch(ctx, missing)
	if err != nil {
		old := p.store.kept.put(p.last(), intent)
		p.store.report(ctx, "layers of an earlier try stay", p.store.refs.drop(ctx, old.Layers))
	}
	return err
}

// wanted is a layer to fetch.
type wanted struct {
	diffID digest.Digest
	blob   ocispec.Descriptor
}

// missing lists the layers that aren't here, the largest first so that none is left to run alone at the end, and the sum
// of their sizes.
func (p *pull) missing(m *manifest.Image, diffIDs []digest.Digest) (list []wanted, need int64) {
	var total int64
	seen := map[digest.Digest]bool{}
	for i, diffID := range diffIDs {
		total += m.Layers[i].Size
		if seen[diffID] || p.store.refs.complete(diffIDs[i:i+1]) == nil {
			p.meter.skip(m.Layers[i].Size)
			continue
		}
		seen[diffID] = true
		list = append(list, wanted{diffID, m.Layers[i]})
		need += m.Layers[i].Size
	}
	slices.SortStableFunc(list, func(a, b wanted) int { return cmp.Compare(b.blob.Size, a.blob.Size) })
	p.meter.enter("layers", total)
	return list, need
}

func (p *pull) fetch(ctx context.Context, list []wanted) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, w := range list {
		g.Go(func() error { return p.layer(ctx, w) })
	}
	return g.Wait()
}

// reserve makes room, by what broken pulls left behind if need be.
func (p *pull) reserve(ctx context.Context, need int64) (func(), error) {
	free, err := p.store.space.reserve(uint64(need))
	if err == nil || !errors.Is(err, errdefs.ErrExhausted) {
		return free, err
	}
	p.store.report(ctx, "remains of broken pulls stay", p.store.expire(ctx, time.Now()))
	return p.store.space.reserve(uint64(need))
}

// layer fetches one layer, or joins whoever does. If that one fails for reasons of its own (its login, its mirror, its
// user's patience), this pull has a try itself.
func (p *pull) layer(ctx context.Context, w wanted) error {
	for {
		j, mine := p.store.layers.join(ctx, w.diffID.String(), func(ctx context.Context, j *job) error {
			select {
			case p.store.slots <- struct{}{}:
				defer func() { <-p.store.slots }()
			case <-ctx.Done():
				return ctx.Err()
			}
			if p.store.refs.complete([]digest.Digest{w.diffID}) == nil {
				return nil
			}
			f := layerFetch{store: p.store, session: p.session, blob: w.blob, diffID: w.diffID, bytes: &j.bytes}
			return f.run(ctx)
		})
		over := p.meter.watch(j, w.blob.Size)
		err := p.store.layers.wait(ctx, j)
		over(err == nil)
		if err == nil || mine || ctx.Err() != nil {
			return err
		}
	}
}
