package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"

	"github.com/berth-runtime/berth/imagestore/layer"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// make makes what is neither folder nor link. It returns EEXIST untouched, before it has read any content.
func (x *extractor) make(ctx context.Context, d *sys.Dir, name string, e *layer.Entry) error {
	if e.Kind == layer.File {
		return x.file(ctx, d, name, e)
	}
	var err error
	switch e.Kind {
	case layer.Symlink:
		err = d.Symlink(e.Target, name)
	case layer.Char:
		err = d.Mknod(name, syscall.S_IFCHR, e.Major, e.Minor)
	case layer.Block:
		err = d.Mknod(name, syscall.S_IFBLK, e.Major, e.Minor)
	case layer.FIFO:
		err = d.Mknod(name, syscall.S_IFIFO, 0, 0)
	default:
		err = errdefs.Bug("entry of kind %d", e.Kind)
	}
	if err != nil {
		return err
	}
	x.files++
	if e.UID != 0 || e.GID != 0 {
		if err := d.ChownAt(name, e.UID, e.GID); err != nil {
			return fmt.Errorf("set its owner: %w", err)
		}
	}
	if e.Kind != layer.Symlink {
		if err := d.ChmodAt(name, e.Mode); err != nil {
			return fmt.Errorf("set its mode: %w", err)
		}
	}
	if err := d.SetTimesAt(name, e.ModTime); err != nil {
		return fmt.Errorf("set its time: %w", err)
	}
	return nil
}

func (x *extractor) file(ctx context.Context, d *sys.Dir, name string, e *layer.Entry) error {
	f, err := d.Create(name, e.Mode&0o777)
	if err != nil {
		return err
	}
	x.files++
	err = x.content(ctx, f, e)
	if err == nil {
		err = x.attributes(f, e)
	}
	return errors.Join(err, f.Close())
}

// content copies the bytes that the reader has for the present entry.
func (x *extractor) content(ctx context.Context, f sys.RawFile, e *layer.Entry) error {
	var written int64
	buf := x.buf
	if e.Sparse {
		buf = buf[:64<<10] // the grain of the holes that are left out
	}
	for at := int64(0); at < e.Size; {
		n, err := io.ReadFull(x.reader, buf[:min(int64(len(buf)), e.Size-at)])
		if err != nil {
			return err
		}
		chunk := buf[:n]
		if e.Sparse && allZero(chunk) {
			if err := f.Skip(int64(n)); err != nil {
				return err
			}
		} else {
			if _, err := f.Write(chunk); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			written += int64(n)
		}
		at += int64(n)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if e.Sparse {
		if err := f.Truncate(e.Size); err != nil {
			return fmt.Errorf("set its size: %w", err)
		}
	}
	before := x.bytes
	x.bytes += uint64(written+blockSize-1) &^ (blockSize - 1)
	if before/flushStep != x.bytes/flushStep {
		x.flush()
	}
	return nil
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// attributes come after the content and in this order: chown clears the set-ID bits and the capabilities, a write the
// latter.
func (x *extractor) attributes(f sys.RawFile, e *layer.Entry) error {
	if e.UID != 0 || e.GID != 0 { // what is made here is root's: no folder is set-group-ID before the end
		if err := f.Chown(e.UID, e.GID); err != nil {
			return fmt.Errorf("set its owner: %w", err)
		}
	}
	if e.Mode&^0o777 != 0 || e.Mode&x.umask != 0 {
		if err := f.Chmod(e.Mode); err != nil {
			return fmt.Errorf("set its mode: %w", err)
		}
	}
	for _, a := range e.Xattrs {
		if err := f.Setxattr(a.Name, a.Value); err != nil {
			return xattrError(a.Name, err)
		}
	}
	if err := f.SetTimes(e.ModTime); err != nil {
		return fmt.Errorf("set its time: %w", err)
	}
	return nil
}

func xattrError(name string, err error) error {
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return errdefs.New(errdefs.ErrNotSupported, "set extended attribute %.100q: the store's file system can't hold it: %w", name, err)
	}
	return fmt.Errorf("set extended attribute %.100q: %w", name, err)
}

// finish sets the attributes of a folder and of all below it.
func finish(n *node, d *sys.Dir) error {
	for name, child := range n.children {
		c, err := d.OpenDir(name)
		if err != nil {
			return fmt.Errorf("open folder %.200q: %w", name, err)
		}
		if err := errors.Join(finish(child, c), c.Close()); err != nil {
			return err
		}
	}
	if err := n.meta.apply(d, n.markers()...); err != nil {
		return kindOf(fmt.Errorf("unpack folder %.200q: %w", n.name, err))
	}
	return nil
}

// markers are the attributes that overlayfs acts on.
func (n *node) markers() []layer.Xattr {
	var list []layer.Xattr
	if n.opaque {
		list = append(list, layer.Xattr{Name: opaqueXattr, Value: opaqueValue})
	}
	if n.hides {
		list = append(list, layer.Xattr{Name: originXattr})
	}
	return list
}

func (m meta) apply(d *sys.Dir, markers ...layer.Xattr) error {
	if m.uid != 0 || m.gid != 0 {
		if err := d.Chown(m.uid, m.gid); err != nil {
			return fmt.Errorf("set its owner: %w", err)
		}
	}
	if err := d.Chmod(m.mode); err != nil {
		return fmt.Errorf("set its mode: %w", err)
	}
	for _, a := range slices.Concat(m.xattrs, markers) {
		if err := d.Setxattr(a.Name, a.Value); err != nil {
			return xattrError(a.Name, err)
		}
	}
	if err := d.SetTimes(m.mtime); err != nil {
		return fmt.Errorf("set its time: %w", err)
	}
	return nil
}

// info sums up the layer.
func (x *extractor) info(root *sys.Dir) (layerInfo, error) {
	i := layerInfo{
		Bytes:      x.bytes + x.tree.count*blockSize,
		Inodes:     x.files + x.tree.count,
		Whiteouts:  x.hides,
		RootEntry:  x.rootEntry,
		OpaqueRoot: x.tree.root.opaque,
	}
	if !x.recount {
		return i, nil
	}
	u, err := usage(context.Background(), root)
	i.Bytes, i.Inodes = u.Bytes, u.Inodes
	return i, err
}
