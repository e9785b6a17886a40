package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-runtime/berth/imagestore/ingest"
	"github.com/berth-runtime/berth/imagestore/layer"
	"github.com/berth-runtime/berth/imagestore/registry"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/imagestore/stream"
	"github.com/berth-runtime/berth/imagestore/verify"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	// resumable is the size from which a blob's bytes are kept for resuming; below it, asking again is as quick.
	resumable = 4 << 20
	// maxTrailer is what may follow a tar's end before it's taken for an attack.
	maxTrailer = 1 << 30
	// maxTries is how often a layer with wrong bytes is fetched, each time from other hosts or from its start.
	maxTries = 4
)

// layerFetch makes one layer from one blob: network → digest of the blob → decompress → diffID → unpack, in one pass.
type layerFetch struct {
	store   *Store
	session *registry.Session
	blob    ocispec.Descriptor
	diffID  digest.Digest
	bytes   *atomic.Int64
}

// run fetches until the layer is committed. Wrong bytes are fetched again as long as there is somewhere else to get them
// from.
func (f *layerFetch) run(ctx context.Context) error {
	for try := 1; ; try++ {
		again, err := f.once(ctx)
		if err == nil {
			return f.store.refs.stored(f.diffID)
		}
		if !again || try >= maxTries || ctx.Err() != nil {
			return err
		}
		f.store.log.WarnContext(ctx, "layer had wrong bytes, fetching it again", "layer", f.diffID, "err", err)
	}
}

func (f *layerFetch) once(ctx context.Context) (again bool, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	spool, err := f.spool()
	if err != nil {
		return false, err
	}
	resumed := spool.Size() > 0
	err = f.pass(ctx, spool, func(d *registry.Download) { again = resumed || d.Distrust() })
	if err == nil || isJudgement(err) || errors.Is(err, errdefs.ErrExhausted) { // a full disk has no room for half a layer
		cu.Add(spool.Remove)
	} else {
		cu.Add(spool.Close)
	}
	return again, err
}

// pass streams the blob once. wrong is called if its bytes are not those of its digest.
func (f *layerFetch) pass(ctx context.Context, spool *ingest.Spool, wrong func(*registry.Download)) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	cu := cleanup.Make(&err)
	defer cu.Clean()
	download := f.session.Download(ctx, f.blob, spool.Size())
	cu.Add(download.Close)
	cu.Add(func() error { cancel(); return nil })

	f.bytes.Store(0)
	source := &failing{r: download}
	raw := io.MultiReader(spool.Held(), io.TeeReader(source, &tolerant{spool: spool, store: f.store}))
	blob := verify.NewReader(&counter{raw, f.bytes}, "layer "+f.blob.Digest.String(), f.blob.Digest, f.blob.Size)
	pending, err := f.unpack(ctx, cancel, blob)
	if pending != nil {
		cu.Add(pending.Discard)
	}
	if source.err != nil {
		return source.err // what the layers above made of it adds nothing
	}
	if ctx.Err() == nil && (err == nil || isJudgement(err)) {
		// Whose fault is it? If the blob's own digest is wrong, that is why it could not be unpacked.
		if _, blobErr := io.Copy(io.Discard, blob); blobErr != nil {
			if errors.Is(blobErr, errdefs.ErrDataLoss) {
				wrong(download)
			}
			return blobErr
		}
	}
	if err != nil {
		return err
	}
	return pending.Commit(ctx)
}

// isJudgement tells errors of the content from those of the way it came here.
func isJudgement(err error) bool {
	return errors.Is(err, errdefs.ErrInvalid) || errors.Is(err, errdefs.ErrDataLoss)
}

// unpack returns an uncommitted layer whose diffID is verified.
func (f *layerFetch) unpack(ctx context.Context, cancel func(), blob io.Reader) (_ snapshot.Pending, err error) {
	tar, err := stream.Decompress(blob)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", f.blob.Digest, err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(tar.Close)
	checked := verify.NewReader(tar, "unpacked layer "+f.blob.Digest.String(), f.diffID, verify.UnknownSize)
	ahead := stream.NewAhead(&guard{r: checked, space: &f.store.space})
	cu.Add(ahead.Close)
	pending, err := f.store.driver.Apply(ctx, f.diffID, ahead, layer.Limits{})
	if err == nil {
		err = toEnd(ahead) // only there is the diffID known to be right
	}
	if err != nil && !isJudgement(err) {
		cancel() // don't wait for bytes that nobody needs
	}
	return pending, err
}

// toEnd reads what may follow a tar: zeros, usually.
func toEnd(r io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxTrailer))
	if err == nil && n == maxTrailer {
		return errdefs.Invalid("more than %d bytes follow the end of the tar", maxTrailer)
	}
	return err
}

// spool is where the blob's bytes are kept; one for small blobs keeps nothing.
func (f *layerFetch) spool() (*ingest.Spool, error) {
	if f.blob.Size < resumable {
		return ingest.None(), nil
	}
	return f.store.ingest.Open(f.blob.Digest, f.diffID, f.blob.Size)
}

// tolerant gives up on the spool at its first error: the download goes on, it just can't be resumed.
type tolerant struct {
	spool  *ingest.Spool
	store  *Store
	broken bool
}

// Write implements io.Writer and never fails.
func (t *tolerant) Write(p []byte) (int, error) {
	if t.broken {
		return len(p), nil
	}
	if _, err := t.spool.Write(p); err != nil {
		t.broken = true
		t.store.log.Warn("download can't be resumed if it breaks", "err", err)
	}
	return len(p), nil
}

// failing remembers the error that ended a source.
type failing struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *failing) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

type counter struct {
	r io.Reader
	n *atomic.Int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
