package imagestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Prepare makes a writable snapshot of an image under key. The image's layers stay until [Store.Discard]. The same key
// and image again are no error, another image is one of kind Exists. Keys are at most 200 bytes of [A-Za-z0-9_.-].
func (s *Store) Prepare(ctx context.Context, key, imageID string) error {
	return s.use(ctx, key, imageID, true)
}

// Retain keeps an image's layers under key without a writable snapshot, for [Store.View]; Discard ends it.
func (s *Store) Retain(ctx context.Context, key, imageID string) error {
	return s.use(ctx, key, imageID, false)
}

func (s *Store) use(ctx context.Context, key, imageID string, writable bool) (err error) {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if !validKey(key) {
		return errdefs.Invalid("prepare snapshot %.40q: a key is at most 200 of letters, digits, '_', '.', '-'", key)
	}
	free, err := s.uses.claim(ctx, key)
	if err != nil {
		return err
	}
	defer free()
	m, err := s.find(imageID)
	if err != nil {
		return fmt.Errorf("prepare snapshot %s: %w", key, err)
	}
	wanted := use{Image: m.ID.String(), Layers: m.Layers, Writable: writable}
	if old, there := s.uses.get(key); there {
		if old.Image == wanted.Image && old.Writable == writable {
			return nil
		}
		return errdefs.Exists("prepare snapshot %s: it exists, of image %s", key, old.Image)
	}
	if err := s.make(ctx, key, wanted); err != nil {
		return fmt.Errorf("prepare snapshot %s of image %s: %w", key, m.ID, err)
	}
	return nil
}

// make holds the layers first: from then on they can't go.
func (s *Store) make(ctx context.Context, key string, wanted use) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	if err := s.refs.hold(ctx, wanted.Layers); err != nil {
		return err
	}
	cu.Add(func() error { return s.refs.drop(ctx, wanted.Layers) })
	if err := s.refs.complete(wanted.Layers); err != nil { // removed since it was looked up
		return errdefs.NotFound("the image was removed: %w", err)
	}
	if err := s.uses.put(key, wanted); err != nil {
		return err
	}
	cu.Add(func() error { return s.uses.remove(key) })
	if wanted.Writable {
		if err := s.driver.Prepare(ctx, key, wanted.Layers); err != nil {
			return err
		}
	}
	cu.Release()
	return nil
}

// Mount returns a fresh detached mount of a prepared snapshot; also after a restart, but only one at a time. The caller
// closes it. With a user namespace in as, files have the owners that it maps those of the image to.
func (s *Store) Mount(ctx context.Context, key string, as snapshot.As) (*os.File, error) {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if v, there := s.uses.get(key); !there || !v.Writable {
		return nil, errdefs.NotFound("mount snapshot %.40q: there is none", key)
	}
	return s.driver.Mount(ctx, key, as)
}

// View returns a read-only detached mount of an image. Use [Store.Retain] first to keep its layers while it's mounted. What
// as says is as for Mount.
func (s *Store) View(ctx context.Context, imageID string, as snapshot.As) (*os.File, error) {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	m, err := s.find(imageID)
	if err != nil {
		return nil, fmt.Errorf("view image: %w", err)
	}
	if err := s.refs.hold(ctx, m.Layers); err != nil {
		return nil, fmt.Errorf("view image %s: %w", m.ID, err)
	}
	f, err := s.driver.View(ctx, m.Layers, as)
	return f, errors.Join(err, s.refs.drop(ctx, m.Layers))
}

// ProbeMapping tells why images can't be mounted with a user namespace's owners (errdefs.ErrNotSupported); nil if they can.
func (s *Store) ProbeMapping(users *os.File) error { return s.driver.ProbeMapping(users) }

// Discard drops a snapshot or a Retain, and the layers that nobody needs any more. A key that isn't there is no error.
func (s *Store) Discard(ctx context.Context, key string) error {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if !validKey(key) {
		return nil // nothing can be there under it
	}
	free, err := s.uses.claim(ctx, key)
	if err != nil {
		return err
	}
	defer free()
	if err := s.driver.Discard(ctx, key); err != nil { // also one whose file was lost in a power cut
		return fmt.Errorf("discard snapshot %s: %w", key, err)
	}
	v, there := s.uses.get(key)
	if !there {
		return nil
	}
	if err := s.uses.remove(key); err != nil {
		return fmt.Errorf("discard snapshot %s: %w", key, err)
	}
	if err := s.drop(ctx, v.Layers); err != nil {
		return fmt.Errorf("discard snapshot %s: %w", key, err)
	}
	return nil
}

// Usage counts what a snapshot's container has written, by walking it.
func (s *Store) Usage(ctx context.Context, key string) (Usage, error) {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return Usage{}, err
	}
	defer leave()
	u, err := s.driver.Usage(ctx, key)
	if err != nil {
		return Usage{}, err
	}
	written := Usage{Bytes: u.Bytes, Inodes: u.Inodes}
	s.uses.measured(key, written)
	return written, nil
}

// Keys returns the keys of all snapshots and Retains, sorted, for reconciliation after a restart.
func (s *Store) Keys(ctx context.Context) ([]string, error) {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	keys, err := s.driver.Keys(ctx)
	if err != nil {
		return nil, err
	}
	keys = append(keys, s.uses.keys()...)
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// recoverUses reads the uses back and holds their layers.
func (s *Store) recoverUses(ctx context.Context) error {
	s.uses.dir = filepath.Join(s.root, "uses")
	why, err := s.uses.load()
	if err != nil {
		return err
	}
	for _, w := range why {
		s.log.ErrorContext(ctx, "damaged record of a snapshot", "err", w)
	}
	made, err := s.driver.Keys(ctx)
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	for _, key := range s.uses.keys() {
		v, _ := s.uses.get(key)
		if v.Writable && !slices.Contains(made, key) { // a crash came between the two
			if err := s.uses.remove(key); err != nil {
				return fmt.Errorf("drop use %s: %w", key, err)
			}
			continue
		}
		if err := s.refs.hold(ctx, v.Layers); err != nil {
			return err
		}
	}
	return nil
}
