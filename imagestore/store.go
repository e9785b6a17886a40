package imagestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/berth-runtime/berth/imagestore/ingest"
	"github.com/berth-runtime/berth/imagestore/records"
	"github.com/berth-runtime/berth/imagestore/reference"
	"github.com/berth-runtime/berth/imagestore/registry"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/imagestore/snapshot/overlay"
	"github.com/berth-runtime/berth/internal/atomicfile"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Config says where a store is and what it is made of.
type Config struct {
	Root     string // folder for records, layers and snapshots; made if missing
	CertsDir string // HOST/hosts.toml and _default/hosts.toml, read at each pull; "" = none
	Logger   *slog.Logger
	// Snapshots unpacks and mounts layers; it belongs to this store alone. nil: overlay, in a folder below Root.
	Snapshots snapshot.Driver
	// Places are paths on which something is mounted in every container; see [overlay.Config].
	Places []string
	// Pinned are image names that stay (the kubelet's GC leaves them alone), e.g. a pause image.
	Pinned []string
	// Timing bounds waiting for registries; zero values are the defaults.
	Timing registry.Timing
}

// Store is the image store. All methods may be used at the same time.
type Store struct {
	root     string
	log      *slog.Logger
	driver   snapshot.Driver
	release  func() error // of a driver that the store opened itself
	records  *records.DB
	ingest   *ingest.Dir
	registry *registry.Client
	refs     *layerRefs
	space    space
	layers   group         // layer jobs by diffID
	slots    chan struct{} // one for each layer job at work
	pinned   map[string]bool
	uses     uses

	mu      sync.Mutex
	closed  bool                        // guarded by mu
	running map[*int]context.CancelFunc // calls that Close ends; guarded by mu
	calls   sync.WaitGroup              // the same, to wait for; Add under mu
	kept    keptPulls
}

// Open opens the store, drops what a crash left behind and checks what is there. Another process on the same root is an
// error of kind FailedPrecondition, a damaged database one of kind DataLoss that says what to do. An image whose record
// or layers are damaged is put aside and reported in the log; it can be pulled again.
func Open(ctx context.Context, c Config) (_ *Store, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	s, err := newStore(c)
	if err != nil {
		return nil, err
	}
	if s.records, err = records.Open(filepath.Join(c.Root, "images.db")); err != nil {
		return nil, err
	}
	cu.Add(s.records.Close)
	if s.driver == nil {
		d, err := overlay.Open(ctx, overlay.Config{Root: filepath.Join(c.Root, "overlay"), Logger: c.Logger, Places: c.Places})
		if err != nil {
			return nil, err
		}
		s.driver, s.release = d, d.Close
		cu.Add(d.Close)
	}
	if s.ingest, err = ingest.Open(filepath.Join(c.Root, "ingest")); err != nil {
		return nil, err
	}
	// The names of what was just made must be as durable as what pulls will write below them.
	if err := errors.Join(atomicfile.SyncDir(c.Root), atomicfile.SyncDir(filepath.Dir(c.Root))); err != nil {
		return nil, err
	}
	var damaged []error
	if s.refs, damaged, err = newLayerRefs(ctx, s.driver); err != nil {
		return nil, err
	}
	for _, d := range damaged {
		s.log.ErrorContext(ctx, "damaged layer", "err", d)
	}
	if err := s.recover(ctx); err != nil {
		return nil, fmt.Errorf("recover image store: %w", err)
	}
	cu.Release()
	return s, nil
}

// newStore takes the settings over and makes the root folder.
func newStore(c Config) (*Store, error) {
	s := &Store{
		root: c.Root, log: c.Logger, driver: c.Snapshots, release: func() error { return nil },
		registry: registry.New(registry.Config{CertsDir: c.CertsDir, Timing: c.Timing}),
		space:    space{path: c.Root}, pinned: map[string]bool{},
		slots: make(chan struct{}, maxJobs), running: map[*int]context.CancelFunc{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, name := range c.Pinned {
		ref, err := reference.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("pinned image: %w", err)
		}
		s.pinned[ref.String()] = true
	}
	if err := os.MkdirAll(c.Root, 0o700); err != nil {
		return nil, fmt.Errorf("make image store: %w", err)
	}
	return s, nil
}

// recover counts who needs which layer and drops the rest.
func (s *Store) recover(ctx context.Context) error {
	why, err := s.records.Quarantine(s.usable)
	if err != nil {
		return err
	}
	for _, w := range why {
		s.log.ErrorContext(ctx, "damaged image", "err", w)
	}
	images, err := s.records.Images()
	if err != nil {
		return err
	}
	for _, m := range images {
		if err := s.refs.hold(ctx, m.Layers); err != nil {
			return err
		}
	}
	if err := s.recoverUses(ctx); err != nil {
		return err
	}
	if err := s.recoverPulls(ctx); err != nil {
		return err
	}
	if err := s.refs.sweep(ctx); err != nil {
		// A layer that a snapshot of an unknown key stands on stays: better than to break a running container.
		s.log.WarnContext(ctx, "orphaned layers stay", "err", err)
	}
	return nil
}

// usable checks a record against what is on disk.
func (s *Store) usable(m records.Image) error {
	if _, err := s.image(m); err != nil {
		return err
	}
	return s.refs.complete(m.Layers)
}

// Close ends running pulls, waits for them and releases the root folder. Mounts that were handed out stay.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, cancel := range s.running {
		cancel()
	}
	s.mu.Unlock()
	s.calls.Wait()
	s.layers.wg.Wait()
	if err := errors.Join(s.records.Close(), s.release()); err != nil {
		return fmt.Errorf("close image store: %w", err)
	}
	return nil
}

// enter admits a call, unless the store is closed. Its context ends with the store's; leave must be called.
func (s *Store) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, errdefs.Unavailable("the image store is closed")
	}
	s.calls.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	call := new(int) // a name of its own
	s.running[call] = cancel
	return ctx, func() {
		s.mu.Lock()
		delete(s.running, call)
		s.mu.Unlock()
		cancel()
		s.calls.Done()
	}, nil
}

// report logs errors of clean-ups whose caller has a more important answer to give.
func (s *Store) report(ctx context.Context, what string, errs ...error) {
	if err := errors.Join(errs...); err != nil {
		s.log.WarnContext(ctx, "image store could not clean up", "what", what, "err", err)
	}
}
