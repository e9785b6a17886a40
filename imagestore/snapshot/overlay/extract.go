package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/imagestore/layer"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Overlayfs's own spelling of OCI's markers (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque
// directories"): a character device 0:0, and this attribute.
const (
	opaqueXattr = "trusted.overlay.opaque"
	opaqueValue = "y"

	// originXattr, empty, means "copied up from somewhere". Overlayfs looks for whiteouts when it lists a folder that
	// several layers have, or one with this attribute; in any other it shows them, as names that don't exist.
	originXattr = "trusted.overlay.origin"
)

// blockSize is what file sizes are rounded up to for the accounting.
const blockSize = 4096

// flushStep is after how many bytes the disk is given work, so that it writes while more is unpacked.
const flushStep = 64 << 20

// extractor unpacks one layer.
type extractor struct {
	tree    *tree
	reader  *layer.Reader
	umask   uint32 // of this process: it takes bits from the mode of what is made
	flush   func() // called every flushStep
	buf     []byte
	files   uint64 // inodes that are no folders
	bytes   uint64
	recount bool // something was replaced, files and bytes are too high
	hides   bool // there are whiteouts

	rootEntry bool // the layer has an entry for its root
}

// extract unpacks the whole stream into root, an empty folder.
func extract(ctx context.Context, root *sys.Dir, r *layer.Reader, umask uint32, flush func()) (info layerInfo, err error) {
	t, err := newTree(root)
	if err != nil {
		return layerInfo{}, err
	}
	x := &extractor{tree: t, reader: r, umask: umask, flush: flush, buf: make([]byte, 1<<20)}
	err = x.all(ctx)
	if err := errors.Join(err, t.close()); err != nil {
		return layerInfo{}, err
	}
	return x.info(root)
}

func (x *extractor) all(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := x.reader.Next()
		//lint:ignore errorlint a source whose error wraps io.EOF has failed, and must not be taken for the end
		if err == io.EOF {
			return errors.Join(ctx.Err(), finish(x.tree.root, x.tree.root.dir))
		}
		if err != nil {
			return err
		}
		if err := x.entry(ctx, e); err != nil {
			return kindOf(fmt.Errorf("unpack %s %.200q: %w", e.Kind, e.Path, err))
		}
	}
}

// kindOf marks a full disk as what it is to callers.
func kindOf(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return errdefs.New(errdefs.ErrExhausted, "%w; free space below the image store's root, or move it", err)
	}
	return err
}

func (x *extractor) entry(ctx context.Context, e *layer.Entry) error {
	if e.Kind == layer.Opaque {
		n, err := x.tree.folder(e.Path, true)
		if err == nil {
			n.opaque = true
		}
		return err
	}
	if e.Path == "." {
		x.tree.root.meta, x.rootEntry = metaOf(e), true
		return nil
	}
	above, name := split(e.Path)
	parent, err := x.tree.folder(above, true)
	if err != nil {
		return err
	}
	switch e.Kind {
	case layer.Dir:
		return x.folder(parent, name, e)
	case layer.Whiteout:
		return x.whiteout(parent, name)
	case layer.Hardlink:
		return x.link(parent, name, e)
	}
	return x.place(parent, name, func(d *sys.Dir) error { return x.make(ctx, d, name, e) })
}

func split(path string) (above, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return ".", path
}

func metaOf(e *layer.Entry) meta {
	return meta{uid: e.UID, gid: e.GID, mode: e.Mode, mtime: e.ModTime, xattrs: e.Xattrs}
}

// place calls make, and again after it has cleared the name if that was taken by an earlier entry: the last one counts.
func (x *extractor) place(parent *node, name string, make func(*sys.Dir) error) error {
	d, err := x.tree.open(parent)
	if err != nil {
		return err
	}
	if err = make(d); !errors.Is(err, syscall.EEXIST) {
		return err
	}
	if err := x.clear(parent, d, name); err != nil {
		return fmt.Errorf("replace an earlier entry: %w", err)
	}
	return make(d)
}

func (x *extractor) clear(parent *node, d *sys.Dir, name string) error {
	x.recount = true
	if n := parent.children[name]; n != nil {
		if err := x.tree.forget(n); err != nil {
			return err
		}
		return removeTree(d, name)
	}
	return d.Unlink(name)
}

// folder makes a folder, or takes over the attributes of one that is there.
func (x *extractor) folder(parent *node, name string, e *layer.Entry) error {
	if n := parent.children[name]; n != nil {
		n.meta = metaOf(e)
		return nil
	}
	hidden := false
	n, err := x.tree.mkdir(parent, name)
	if errors.Is(err, syscall.EEXIST) {
		var d *sys.Dir
		if d, err = x.tree.open(parent); err != nil {
			return err
		}
		st, err := d.Lstat(name)
		if err != nil {
			return err
		}
		hidden = sys.IsDevice(&st, 0, 0)
		if err := x.clear(parent, d, name); err != nil {
			return fmt.Errorf("replace an earlier entry: %w", err)
		}
		n, err = x.tree.mkdir(parent, name)
		if err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	n.meta, n.opaque = metaOf(e), hidden
	return nil
}

// whiteout hides name of the layers below. What this layer itself has there stays: a file hides them anyway, a folder
// has to be told to.
func (x *extractor) whiteout(parent *node, name string) error {
	if n := parent.children[name]; n != nil {
		n.opaque = true
		return nil
	}
	d, err := x.tree.open(parent)
	if err != nil {
		return err
	}
	err = d.Mknod(name, syscall.S_IFCHR, 0, 0)
	if errors.Is(err, syscall.EEXIST) {
		return nil
	}
	if err == nil {
		x.files++
		x.hides, parent.hides = true, true
	}
	return err
}

// link makes a hard link to something that this layer has brought before. Its own attributes are those of the file.
func (x *extractor) link(parent *node, name string, e *layer.Entry) error {
	above, old := split(e.Target)
	from, err := x.tree.folder(above, false)
	if err != nil {
		return err
	}
	if from == nil || from.children[old] != nil {
		return errdefs.Invalid("hard link to %.200q, which is no file of this layer so far", e.Target)
	}
	if from == parent && old == name {
		return nil
	}
	for n := from; n.parent != nil; n = n.parent {
		if n.parent == parent && n.name == name {
			return errdefs.Invalid("hard link to %.200q, which it would replace together with its folder", e.Target)
		}
	}
	source, err := x.tree.open(from)
	if err != nil {
		return err
	}
	st, err := source.Lstat(old)
	if errors.Is(err, syscall.ENOENT) || err == nil && sys.IsDevice(&st, 0, 0) {
		return errdefs.Invalid("hard link to %.200q, which is no file of this layer so far", e.Target)
	}
	if err != nil {
		return err
	}
	from.pinned = from != x.tree.root
	defer func() { from.pinned = from == x.tree.root }()
	return x.place(parent, name, func(d *sys.Dir) error { return d.Link(source, old, name) })
}
