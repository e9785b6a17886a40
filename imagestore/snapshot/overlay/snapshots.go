package overlay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Prepare makes a writable snapshot. Nothing of it is synced: it does not outlive a reboot.
func (d *Driver) Prepare(ctx context.Context, key string, layers []digest.Digest) (err error) {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := d.reserve(key, layers); err != nil {
		return fmt.Errorf("prepare snapshot %s: %w", key, err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { d.release(key); return nil })
	if err := d.prepare(ctx, key, layers); err != nil {
		return fmt.Errorf("prepare snapshot %s: %w", key, kindOf(err))
	}
	cu.Release()
	return nil
}

// reserve takes the key and pins the layers.
func (d *Driver) reserve(key string, layers []digest.Digest) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, taken := d.uses[key]; taken {
		return errdefs.Exists("there is one of that name")
	}
	for _, l := range layers {
		if d.removing[l] {
			return errdefs.NotFound("layer %s is being removed", l)
		}
	}
	d.uses[key] = slices.Clone(layers)
	return nil
}

func (d *Driver) release(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.uses, key)
}

func (d *Driver) prepare(ctx context.Context, key string, layers []digest.Digest) (err error) {
	st, err := d.stack(layers)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	temp, dir, err := d.temp("snapshot")
	if err != nil {
		return err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { return removeTree(d.tmp, temp) })
	cu.Add(dir.Close)
	if err := d.fill(dir, layers, st); err != nil {
		return err
	}
	if err := d.tmp.RenameNew(temp, d.snapshots, key); err != nil {
		return err
	}
	cu.Release()
	return dir.Close()
}

// fill makes what is in a snapshot's folder. The root of the mount takes its attributes from upper.
func (d *Driver) fill(dir *sys.Dir, layers []digest.Digest, st stack) error {
	for _, name := range []string{"upper", "work"} {
		if err := dir.Mkdir(name, 0o700); err != nil {
			return fmt.Errorf("make folder %s: %w", name, err)
		}
	}
	upper, err := dir.OpenDir("upper")
	if err != nil {
		return fmt.Errorf("open folder upper: %w", err)
	}
	err = d.rootAttributes(upper, st.root)
	if err := errors.Join(err, upper.Close()); err != nil {
		return err
	}
	return writeRecord(dir, "snapshot.json", snapshotInfo{Layers: layers, Lower: st.lower, Boot: d.boot})
}

// rootAttributes copies mode, owner and time of the root folder from the topmost layer that has an entry for it.
func (d *Driver) rootAttributes(upper *sys.Dir, from digest.Digest) error {
	m := implied()
	if from == "" {
		return m.apply(upper)
	}
	dir, err := d.openLayer(from)
	if err != nil {
		return err
	}
	st, err := dir.Stat()
	if err := errors.Join(err, dir.Close()); err != nil {
		return fmt.Errorf("look at the root of layer %s: %w", from, err)
	}
	m.uid, m.gid, m.mode, m.mtime = st.Uid, st.Gid, st.Mode&0o7777, sys.ModTime(&st)
	return m.apply(upper)
}

// openLayer opens a layer's contents.
func (d *Driver) openLayer(diffID digest.Digest) (*sys.Dir, error) {
	name, err := layerName(diffID)
	if err != nil {
		return nil, err
	}
	dir, err := d.layers.OpenDirBeneath(name + "/fs")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.NotFound("layer %s is not here", diffID)
	}
	if err != nil {
		return nil, fmt.Errorf("open layer %s: %w", diffID, err)
	}
	return dir, nil
}

// stack is what an image's layers come down to.
type stack struct {
	lower     []digest.Digest // those that show something, topmost first, each once
	root      digest.Digest   // the one that says what the root folder is like; "" = none does
	whiteouts bool            // some of lower hold whiteouts
}

// stack drops the layers that show nothing: empty ones, those below one that hides all, and a layer's second
// occurrence further down, of which every name is in the first (overlayfs refuses a folder given twice).
func (d *Driver) stack(layers []digest.Digest) (stack, error) {
	var s stack
	if len(layers) > maxLayers {
		return s, errdefs.Invalid("%d layers; at most %d are supported", len(layers), maxLayers)
	}
	hidden := false
	for _, l := range slices.Backward(layers) {
		info, err := d.readLayer(l)
		if err != nil {
			return s, err
		}
		if info.RootEntry && s.root == "" {
			s.root = l
		}
		if !hidden && info.Inodes > 1 && !slices.Contains(s.lower, l) {
			s.lower = append(s.lower, l)
			s.whiteouts = s.whiteouts || info.Whiteouts
		}
		hidden = hidden || info.OpaqueRoot
	}
	return s, nil
}

func (d *Driver) readSnapshot(key string) (snapshotInfo, error) {
	dir, err := d.snapshots.OpenDir(key)
	if errors.Is(err, fs.ErrNotExist) {
		return snapshotInfo{}, errdefs.NotFound("snapshot %s is not here", key)
	}
	if err != nil {
		return snapshotInfo{}, fmt.Errorf("open snapshot %s: %w", key, err)
	}
	data, err := dir.ReadFile("snapshot.json", maxRecord)
	if err := errors.Join(err, dir.Close()); err != nil {
		return snapshotInfo{}, fmt.Errorf("read snapshot.json of %s: %w", key, err)
	}
	return parseSnapshotInfo(data)
}

// Discard removes a snapshot. Its files are deleted in the background.
func (d *Driver) Discard(_ context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	err := d.trashLater(d.snapshots, key)
	if _, still := d.snapshots.Lstat(key); errors.Is(still, syscall.ENOENT) {
		d.release(key)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("discard snapshot %s: %w", key, err)
	}
	return nil
}

// Usage counts what was written to a snapshot.
func (d *Driver) Usage(ctx context.Context, key string) (snapshot.Usage, error) {
	if err := checkKey(key); err != nil {
		return snapshot.Usage{}, err
	}
	dir, err := d.snapshots.OpenDirBeneath(key + "/upper")
	if errors.Is(err, fs.ErrNotExist) {
		return snapshot.Usage{}, errdefs.NotFound("measure snapshot %s: it is not here", key)
	}
	if err != nil {
		return snapshot.Usage{}, fmt.Errorf("measure snapshot %s: %w", key, err)
	}
	u, err := usage(ctx, dir)
	if err := errors.Join(err, dir.Close()); err != nil {
		return snapshot.Usage{}, fmt.Errorf("measure snapshot %s: %w", key, err)
	}
	return u, nil
}

// Keys lists the snapshots.
func (d *Driver) Keys(context.Context) ([]string, error) {
	names, err := d.snapshots.Names()
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	return names, nil
}
