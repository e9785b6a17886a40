package imagestore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Remove forgets an image with all its tags and frees its layers. Layers that a snapshot uses stay until it is discarded.
// An image that isn't there is no error; a name that isn't one is of kind Invalid.
func (s *Store) Remove(ctx context.Context, refOrID string) error {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	m, err := s.find(refOrID)
	if err == nil {
		m, err = s.records.Remove(m.ID)
	}
	if errors.Is(err, errdefs.ErrNotFound) { // also: another call was faster
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove image %s: %w", refOrID, err)
	}
	// Whoever removes images needs space, so what broken pulls left goes too, unless they may be just being retried.
	s.report(ctx, "remains of broken pulls stay", s.expire(ctx, time.Now().Add(-retryWithin)))
	if err := s.drop(ctx, m.Layers); err != nil {
		return fmt.Errorf("remove image %s: %w", refOrID, err)
	}
	return nil
}

// drop is layerRefs.drop for callers that have already done their part: a layer that the driver holds for a snapshot that
// isn't recorded, as a power cut may leave it, stays until that is discarded and the store opened again.
func (s *Store) drop(ctx context.Context, layers []digest.Digest) error {
	err := s.refs.drop(ctx, layers)
	if errors.Is(err, errdefs.ErrFailedPrecondition) {
		s.report(ctx, "layer of an unknown snapshot stays", err)
		return nil
	}
	return err
}

// FsInfo tells how much of the disk the store takes, without walking it.
func (s *Store) FsInfo(ctx context.Context) (FsInfo, error) {
	_, leave, err := s.enter(ctx)
	if err != nil {
		return FsInfo{}, err
	}
	defer leave()
	disk, err := sys.Statfs(s.root)
	if err != nil {
		return FsInfo{}, err
	}
	db, err := s.records.Size()
	if err != nil {
		return FsInfo{}, err
	}
	spools, err := s.ingest.Usage()
	if err != nil {
		return FsInfo{}, err
	}
	layers := s.refs.usage()
	return FsInfo{
		Path:  s.root,
		Bytes: layers.Bytes + uint64(db) + uint64(spools), Inodes: layers.Inodes + 1,
		Snapshots: s.uses.usage(),
		BytesFree: disk.BytesFree, BytesCapacity: disk.Bytes, InodesFree: disk.InodesFree, InodesCapacity: disk.Inodes,
	}, nil
}
