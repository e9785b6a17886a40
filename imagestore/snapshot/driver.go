// Package snapshot is the contract between the image store and what turns layers into mounted file systems.
//
// A driver owns the unpacked layers and the writable snapshots below its folder, and nothing else: which image needs
// which layer, and when a layer may go, is the store's knowledge. It never talks to a registry and never verifies a
// digest: the reader given to Apply does, and the caller commits only after it said that all was well.
package snapshot

import (
	"context"
	"io"
	"os"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/layer"
)

// Driver keeps layers, named by the digest of their uncompressed tar, and snapshots on them, named by keys of the
// caller's choice (at most 200 bytes of [A-Za-z0-9_.-], not starting with a dot). All methods may be called at once from
// many goroutines. Errors carry the kinds of errdefs: ErrNotFound for an unknown layer or key, ErrInvalid for a bad
// digest, key or tar, ErrExhausted for a layer beyond its limits and for a full disk, ErrFailedPrecondition for a layer
// still in use.
type Driver interface {
	// Apply reads an uncompressed tar to its end and unpacks it out of sight. The layer exists only after Commit. It
	// does not look at diffID's bytes: the caller compares digests between Apply and Commit.
	Apply(ctx context.Context, diffID digest.Digest, tar io.Reader, limits layer.Limits) (Pending, error)
	// Has tells whether the layer is committed.
	Has(diffID digest.Digest) (bool, error)
	// Layer returns the size of a committed layer.
	Layer(diffID digest.Digest) (Layer, error)
	// Layers lists the committed layers in no order.
	Layers() ([]digest.Digest, error)
	// RemoveLayer deletes a layer; one that does not exist is fine. Mounts that use it must be gone. It refuses
	// (ErrFailedPrecondition) while a snapshot stands on it.
	RemoveLayer(ctx context.Context, diffID digest.Digest) error

	// Prepare makes a writable snapshot on the layers, lowest first (the order of rootfs.diff_ids in an image config).
	// No layers at all is fine. ErrExists if the key is taken, ErrNotFound if a layer is missing.
	Prepare(ctx context.Context, key string, layers []digest.Digest) error
	// Mount returns a new detached mount (an O_PATH-like file for move_mount) of a snapshot. The caller closes it; a
	// mount that was never attached ends with its last file. It may be called again after the first mount is gone,
	// also after a crash of the caller; two mounts of one key at the same time are the caller's mistake.
	// With a user namespace in as, the layers show the owners that it maps theirs to, and so does the root of what is written; the
	// same one must be given each time. ErrNotSupported if the kernel or the file system can't.
	Mount(ctx context.Context, key string, as As) (*os.File, error)
	// View returns a new detached, read-only mount of the layers; as is as for Mount.
	View(ctx context.Context, layers []digest.Digest, as As) (*os.File, error)
	// ProbeMapping tells why layers can't be mounted with a user namespace's owners; nil if they can.
	ProbeMapping(users *os.File) error
	// Discard removes a snapshot and what was written to it; one that does not exist is fine.
	Discard(ctx context.Context, key string) error
	// Usage counts what was written to a snapshot.
	Usage(ctx context.Context, key string) (Usage, error)
	// Keys lists the snapshots in no order.
	Keys(ctx context.Context) ([]string, error)
}

// As says how a mount shows the files. The zero value shows them as they are.
type As struct {
	Users *os.File // user namespace that maps their owners; nil: none
	Label string   // SELinux context of all of them, at most 255 bytes; "": their own
}

// Pending is an unpacked layer that nobody can use yet. Exactly one of Commit and Discard ends it; Discard after
// Commit does nothing, so it may be deferred.
type Pending interface {
	// Layer returns the size of what was unpacked.
	Layer() Layer
	// Commit publishes the layer. When it returns, the layer survives a power cut. If another Pending of the same
	// digest was committed before, this one is thrown away and the other stands.
	Commit(ctx context.Context) error
	// Discard removes what was unpacked.
	Discard() error
}

// Layer is the size of an unpacked layer on disk: allocated bytes (of 512-byte blocks) and inodes, hard links once.
type Layer struct {
	Bytes  uint64
	Inodes uint64
}

// Usage is what a snapshot's own files take on disk, counted as in [Layer].
type Usage struct {
	Bytes  uint64
	Inodes uint64
}
