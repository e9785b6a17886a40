package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"

	digest "github.com/opencontainers/go-digest"

	"github.com/berth-runtime/berth/imagestore/layer"
	"github.com/berth-runtime/berth/imagestore/snapshot"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// pending is a layer in tmp.
type pending struct {
	driver *Driver
	diffID digest.Digest
	temp   string // its name in tmp; "" when it is done with
	info   layerInfo
	mark   uint64 // of the syncer, from before the first write
}

// Apply unpacks a layer into tmp.
func (d *Driver) Apply(ctx context.Context, diffID digest.Digest, tar io.Reader, limits layer.Limits) (_ snapshot.Pending, err error) {
	if _, err := layerName(diffID); err != nil {
		return nil, err
	}
	umask, err := sys.Umask()
	if err != nil {
		return nil, fmt.Errorf("unpack layer: read the umask: %w", err)
	}
	mark := d.syncer.mark()
	temp, dir, err := d.temp("layer")
	if err != nil {
		return nil, fmt.Errorf("unpack layer: %w", err)
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { return removeTree(d.tmp, temp) })
	info, err := unpack(ctx, dir, layer.NewReader(tar, limits), umask, d.syncer.start)
	if err := errors.Join(err, dir.Close()); err != nil {
		return nil, fmt.Errorf("unpack layer %s: %w", diffID, err)
	}
	cu.Release()
	return &pending{driver: d, diffID: diffID, temp: temp, info: info, mark: mark}, nil
}

func unpack(ctx context.Context, dir *sys.Dir, r *layer.Reader, umask uint32, flush func()) (layerInfo, error) {
	if err := dir.Mkdir("fs", 0o700); err != nil {
		return layerInfo{}, kindOf(err)
	}
	root, err := dir.OpenDir("fs")
	if err != nil {
		return layerInfo{}, err
	}
	info, err := extract(ctx, root, r, umask, flush)
	if err := errors.Join(err, root.Close()); err != nil {
		return layerInfo{}, err
	}
	return info, kindOf(writeRecord(dir, "layer.json", info))
}

// Layer returns the size.
func (p *pending) Layer() snapshot.Layer {
	return snapshot.Layer{Bytes: p.info.Bytes, Inodes: p.info.Inodes}
}

// Commit publishes the layer: contents to the disk, then the name, then the folder of names to the disk. So a name that
// survives a power cut has its contents.
//
// The contents go by one syncfs and not by an fsync for each file: for 10,000 files that is one journal commit
// instead of thousands. It also waits for what others have written on that file system; layers that are ready at the
// same time share it. Most is on the disk by then, because Apply starts a syncfs every 64 MiB.
func (p *pending) Commit(ctx context.Context) error {
	if p.temp == "" {
		return errdefs.Bug("commit layer %s: it was committed or discarded before", p.diffID)
	}
	if err := p.commit(ctx); err != nil {
		return fmt.Errorf("commit layer %s: %w", p.diffID, kindOf(err))
	}
	return nil
}

func (p *pending) commit(ctx context.Context) error {
	d := p.driver
	name, err := layerName(p.diffID)
	if err != nil {
		return err
	}
	if err := d.syncer.sync(ctx, p.mark); err != nil {
		return fmt.Errorf("write it to the disk: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = d.tmp.RenameNew(p.temp, d.layers, name)
	published := err == nil
	if published {
		p.temp = ""
	} else if errors.Is(err, syscall.EEXIST) {
		err = p.Discard()
	}
	if err != nil {
		return err
	}
	if err := d.layers.Sync(); err != nil { // also for the other's rename, which may not be on the disk yet
		err = fmt.Errorf("write its name to the disk: %w", err)
		if published {
			err = errors.Join(err, d.trash(d.layers, name))
		}
		return err
	}
	return nil
}

// Discard deletes what was unpacked.
func (p *pending) Discard() error {
	if p.temp == "" {
		return nil
	}
	if err := removeTree(p.driver.tmp, p.temp); err != nil {
		return fmt.Errorf("discard layer %s: %w", p.diffID, err)
	}
	p.temp = ""
	return nil
}

// Has tells whether the layer is committed.
func (d *Driver) Has(diffID digest.Digest) (bool, error) {
	name, err := layerName(diffID)
	if err != nil {
		return false, err
	}
	_, err = d.layers.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for layer %s: %w", diffID, err)
	}
	return true, nil
}

// Layer returns the size of a committed layer.
func (d *Driver) Layer(diffID digest.Digest) (snapshot.Layer, error) {
	info, err := d.readLayer(diffID)
	return snapshot.Layer{Bytes: info.Bytes, Inodes: info.Inodes}, err
}

func (d *Driver) readLayer(diffID digest.Digest) (layerInfo, error) {
	name, err := layerName(diffID)
	if err != nil {
		return layerInfo{}, err
	}
	dir, err := d.layers.OpenDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return layerInfo{}, errdefs.NotFound("layer %s is not here", diffID)
	}
	if err != nil {
		return layerInfo{}, fmt.Errorf("open layer %s: %w", diffID, err)
	}
	data, err := dir.ReadFile("layer.json", maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		err = errdefs.New(errdefs.ErrDataLoss, "%w; remove the layer and pull it again", err)
	}
	if err := errors.Join(err, dir.Close()); err != nil {
		return layerInfo{}, fmt.Errorf("read layer.json of layer %s: %w", diffID, err)
	}
	info, err := parseLayerInfo(data)
	if err != nil {
		return layerInfo{}, fmt.Errorf("layer %s: %w", diffID, err)
	}
	return info, nil
}

// Layers lists the committed layers.
func (d *Driver) Layers() ([]digest.Digest, error) {
	names, err := d.layers.Names()
	if err != nil {
		return nil, fmt.Errorf("list layers: %w", err)
	}
	var list []digest.Digest
	for _, name := range names {
		if id, ok := layerDigest(name); ok {
			list = append(list, id)
		}
	}
	return list, nil
}

// RemoveLayer deletes a layer that no snapshot stands on.
func (d *Driver) RemoveLayer(_ context.Context, diffID digest.Digest) error {
	name, err := layerName(diffID)
	if err != nil {
		return err
	}
	if err := d.beginRemove(diffID); err != nil {
		return err
	}
	defer d.endRemove(diffID)
	if err := d.trash(d.layers, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove layer %s: %w", diffID, err)
	}
	return nil
}

// beginRemove keeps new snapshots off the layer until endRemove.
func (d *Driver) beginRemove(diffID digest.Digest) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, layers := range d.uses {
		if slices.Contains(layers, diffID) {
			return errdefs.FailedPrecondition("remove layer %s: snapshot %s stands on it", diffID, key)
		}
	}
	if d.removing[diffID] {
		return errdefs.FailedPrecondition("remove layer %s: it is being removed already", diffID)
	}
	d.removing[diffID] = true
	return nil
}

func (d *Driver) endRemove(diffID digest.Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.removing, diffID)
}
