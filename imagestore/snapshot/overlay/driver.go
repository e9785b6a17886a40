package overlay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// maxLayers bounds an image; it is what Docker's own drivers allow, and a list that fits every way to mount.
const maxLayers = 128

// Config is what Open needs.
type Config struct {
	Root   string       // made if missing; on a file system that can hold overlay's upper folders
	Logger *slog.Logger // nil: nothing is logged

	// Places are paths of files that every snapshot shows, empty ones where the image has none: something is mounted there in
	// any case, and a file that is there need not be made, on the disk, for each snapshot.
	Places []string
}

// Driver implements [snapshot.Driver].
type Driver struct {
	log       *slog.Logger
	path      string
	root      *sys.Dir
	layers    *sys.Dir
	snapshots *sys.Dir
	tmp       *sys.Dir
	empty     *sys.Dir // a folder without content, for mounts that would have no lower one
	places    *sys.Dir // the lowest folder of all snapshots
	how       mounter
	syncer    syncer
	deleter   deleter
	attached  atomic.Bool   // mapped layers must be attached; see mountShown
	boot      string        // the kernel's boot_id
	serial    atomic.Uint64 // of names in tmp

	mu       sync.Mutex
	uses     map[string][]digest.Digest // the layers of each snapshot, those being made included
	removing map[digest.Digest]bool
}

var _ snapshot.Driver = (*Driver)(nil)

// Open takes hold of the store at cfg.Root, sweeps what an earlier process left unfinished, and finds out how to mount.
// Errors: ErrFailedPrecondition if another process has the store, ErrNotSupported if overlayfs can't work there.
func Open(ctx context.Context, cfg Config) (_ *Driver, err error) {
	d := &Driver{
		log: cfg.Logger, path: cfg.Root,
		uses: map[string][]digest.Digest{}, removing: map[digest.Digest]bool{},
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(d.Close)
	if d.boot, err = sys.BootID(); err != nil {
		return nil, fmt.Errorf("open snapshots: read the boot id: %w", err)
	}
	if err := d.openFolders(cfg.Root); err != nil {
		return nil, fmt.Errorf("open snapshots at %s: %w", cfg.Root, err)
	}
	if err := d.makePlaces(cfg.Places); err != nil {
		return nil, fmt.Errorf("open snapshots at %s: %w", cfg.Root, err)
	}
	if err := d.sweep(); err != nil {
		return nil, fmt.Errorf("sweep %s/tmp: %w", cfg.Root, err)
	}
	if err := d.load(); err != nil {
		return nil, fmt.Errorf("read the snapshots at %s: %w", cfg.Root, err)
	}
	if d.how, err = d.probe(ctx); err != nil {
		return nil, fmt.Errorf("mount overlayfs on %s: %w", cfg.Root, err)
	}
	d.syncer.fs = d.root
	d.deleter.tmp, d.deleter.log = d.tmp, d.log
	d.log.LogAttrs(ctx, slog.LevelDebug, "overlay snapshots are open", slog.String("root", cfg.Root), slog.String("mount", string(d.how)))
	cu.Release()
	return d, nil
}

func (d *Driver) openFolders(path string) (err error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if d.root, err = sys.OpenDir(path); err != nil {
		return err
	}
	if err := d.root.Lock(); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return errdefs.FailedPrecondition("another process uses this store")
		}
		return fmt.Errorf("lock: %w", err)
	}
	if err := d.root.Chmod(0o700); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		dir  **sys.Dir
	}{{"layers", &d.layers}, {"snapshots", &d.snapshots}, {"tmp", &d.tmp}, {"empty", &d.empty}, {"places", &d.places}} {
		if err := d.root.Mkdir(f.name, 0o755); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("make folder %s: %w", f.name, err)
		}
		if *f.dir, err = d.root.OpenDir(f.name); err != nil {
			return fmt.Errorf("open folder %s: %w", f.name, err)
		}
	}
	return nil
}

// Close lets go of the store. Mounts made from it live on.
func (d *Driver) Close() error {
	d.syncer.wait()
	d.deleter.close()
	var errs []error
	for _, f := range []*sys.Dir{d.root, d.layers, d.snapshots, d.tmp, d.empty, d.places} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// sweep empties tmp. A mount left there by the oldest way to mount is taken off first.
func (d *Driver) sweep() error {
	names, err := d.tmp.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.tmp.UnmountAt(name); err != nil {
			return fmt.Errorf("unmount %s: %w", name, err)
		}
		if err := removeTree(d.tmp, name); err != nil {
			return err
		}
	}
	return nil
}

// load fills the index of snapshots. One whose record is damaged stays listed, so that its owner can discard it.
func (d *Driver) load() error {
	names, err := d.snapshots.Names()
	if err != nil {
		return err
	}
	for _, key := range names {
		info, err := d.readSnapshot(key)
		if err != nil {
			d.log.Warn("a snapshot's record can't be read; it can only be discarded", "key", key, "error", err)
		}
		d.uses[key] = info.Layers
	}
	return nil
}

// temp makes a folder in tmp and opens it.
func (d *Driver) temp(what string) (name string, dir *sys.Dir, err error) {
	name = what + "-" + strconv.FormatUint(d.serial.Add(1), 10)
	if err := d.tmp.Mkdir(name, 0o700); err != nil {
		return "", nil, kindOf(fmt.Errorf("make folder tmp/%s: %w", name, err))
	}
	dir, err = d.tmp.OpenDir(name)
	if err != nil {
		return "", nil, fmt.Errorf("open folder tmp/%s: %w", name, err)
	}
	return name, dir, nil
}
