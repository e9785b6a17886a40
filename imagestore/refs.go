package imagestore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// layerRefs counts who needs which layer: each image, each snapshot, each pull. A layer that nobody needs any more is
// removed; whoever wants it again meanwhile waits for that.
type layerRefs struct {
	driver snapshot.Driver

	mu      sync.Mutex
	count   map[digest.Digest]int
	leaving map[digest.Digest]chan struct{}
	sizes   map[digest.Digest]snapshot.Layer // of the layers on disk
	total   Usage                            // their sum
}

// newLayerRefs starts with what is on disk, needed by nobody yet. Layers whose records are damaged are removed, so that
// they can be fetched again; damaged holds one error for each.
func newLayerRefs(ctx context.Context, driver snapshot.Driver) (_ *layerRefs, damaged []error, _ error) {
	r := &layerRefs{
		driver: driver, count: map[digest.Digest]int{}, leaving: map[digest.Digest]chan struct{}{},
		sizes: map[digest.Digest]snapshot.Layer{},
	}
	ids, err := driver.Layers()
	if err != nil {
		return nil, nil, fmt.Errorf("list layers: %w", err)
	}
	for _, id := range ids {
		if err := r.stored(id); err != nil {
			damaged = append(damaged, errors.Join(err, driver.RemoveLayer(ctx, id)))
		}
	}
	return r, damaged, nil
}

// stored takes the size of a layer that is now on disk into the counts.
func (r *layerRefs) stored(id digest.Digest) error {
	size, err := r.driver.Layer(id)
	if err != nil {
		return fmt.Errorf("size of layer %s: %w", id, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.goneLocked(id)
	r.sizes[id] = size
	r.total.Bytes += size.Bytes
	r.total.Inodes += size.Inodes
	return nil
}

func (r *layerRefs) goneLocked(id digest.Digest) {
	size := r.sizes[id]
	delete(r.sizes, id)
	r.total.Bytes -= size.Bytes
	r.total.Inodes -= size.Inodes
}

// hold keeps layers, there or to come, until as many calls of drop. It waits for those that are being removed.
func (r *layerRefs) hold(ctx context.Context, ids []digest.Digest) error {
	for i, id := range ids {
		for {
			r.mu.Lock()
			gone := r.leaving[id]
			if gone == nil {
				r.count[id]++
			}
			r.mu.Unlock()
			if gone == nil {
				break
			}
			select {
			case <-gone:
			case <-ctx.Done():
				return errors.Join(ctx.Err(), r.drop(ctx, ids[:i]))
			}
		}
	}
	return nil
}

// drop ends a hold and removes the layers that nobody needs any more, whatever the context says.
func (r *layerRefs) drop(ctx context.Context, ids []digest.Digest) error {
	r.mu.Lock()
	var unneeded []digest.Digest
	for _, id := range ids {
		r.count[id]--
		if r.count[id] > 0 {
			continue
		}
		delete(r.count, id)
		r.leaving[id] = make(chan struct{})
		unneeded = append(unneeded, id)
	}
	r.mu.Unlock()
	return r.remove(ctx, unneeded)
}

// sweep removes the layers on disk that nobody needs.
func (r *layerRefs) sweep(ctx context.Context) error {
	r.mu.Lock()
	var unneeded []digest.Digest
	for id := range r.sizes {
		if r.count[id] == 0 && r.leaving[id] == nil {
			r.leaving[id] = make(chan struct{})
			unneeded = append(unneeded, id)
		}
	}
	r.mu.Unlock()
	return r.remove(ctx, unneeded)
}

// remove deletes layers that are marked as leaving.
func (r *layerRefs) remove(ctx context.Context, ids []digest.Digest) error {
	var errs []error
	for _, id := range ids {
		err := r.driver.RemoveLayer(context.WithoutCancel(ctx), id)
		if err != nil {
			errs = append(errs, fmt.Errorf("remove layer %s: %w", id, err))
		}
		r.mu.Lock()
		if err == nil {
			r.goneLocked(id)
		}
		close(r.leaving[id])
		delete(r.leaving, id)
		r.mu.Unlock()
	}
	return errors.Join(errs...)
}

// sizeOf sums layers up; the same one twice counts once.
func (r *layerRefs) sizeOf(ids []digest.Digest) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sum int64
	seen := map[digest.Digest]bool{}
	for _, id := range ids {
		if !seen[id] {
			sum += int64(r.sizes[id].Bytes)
		}
		seen[id] = true
	}
	return sum
}

func (r *layerRefs) usage() Usage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// complete checks that all layers are on disk.
func (r *layerRefs) complete(ids []digest.Digest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if _, there := r.sizes[id]; !there {
			return errdefs.New(errdefs.ErrDataLoss, "layer %s is missing", id)
		}
	}
	return nil
}
