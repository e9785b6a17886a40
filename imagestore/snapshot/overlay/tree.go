package overlay

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/imagestore/layer"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// node is a folder of the layer. The tree of nodes holds all of them, so a name that is not in it is either free or
// no folder; files are not kept.
type node struct {
	name     string
	parent   *node
	children map[string]*node
	dir      *sys.Dir // open, or nil
	pinned   bool     // dir must stay open
	opaque   bool
	hides    bool // there is a whiteout in it
	meta     meta
}

// meta is set on a folder when the layer is complete: a later file would change the time, and its owner, set-group-ID
// bit or default ACL would be inherited.
type meta struct {
	uid, gid, mode uint32
	mtime          time.Time
	xattrs         []layer.Xattr
}

// implied is what a folder gets that the layer has files in, but no entry for.
func implied() meta { return meta{mode: 0o755, mtime: time.Unix(0, 0)} }

// openLimit bounds the folders that are open at once. Tars are written folder by folder, so the last few are the ones
// needed again.
const openLimit = 64

// tree is the layer's folders and the fds open in them.
type tree struct {
	root  *node
	path  string  // of the root as the kernel spells it, for canonical
	fifo  []*node // open ones but the root, oldest first
	count uint64  // folders made and not removed, the root included

	lastPath string // the answer of folder that was given last, which is most often asked for again
	last     *node
}

func newTree(root *sys.Dir) (*tree, error) {
	path, err := root.Realpath()
	if err != nil {
		return nil, fmt.Errorf("find the folder's path: %w", err)
	}
	n := &node{children: map[string]*node{}, dir: root, pinned: true, meta: implied()}
	return &tree{root: n, path: path, count: 1}, nil
}

// close closes all open folders but the root, which its maker owns.
func (t *tree) close() error {
	var errs []error
	for _, n := range t.fifo {
		if n.dir != nil {
			errs = append(errs, n.dir.Close())
			n.dir = nil
		}
	}
	t.fifo = nil
	return errors.Join(errs...)
}

// open returns the fd of a folder, valid until the next call of open unless the node is pinned.
func (t *tree) open(n *node) (*sys.Dir, error) {
	if n.dir != nil {
		return n.dir, nil
	}
	parent, err := t.open(n.parent)
	if err != nil {
		return nil, err
	}
	d, err := parent.OpenDir(n.name)
	if err != nil {
		return nil, fmt.Errorf("open folder %q: %w", n.name, err)
	}
	return d, t.opened(n, d)
}

func (t *tree) opened(n *node, d *sys.Dir) error {
	n.dir = d
	t.fifo = append(t.fifo, n)
	if len(t.fifo) <= openLimit {
		return nil
	}
	for i, old := range t.fifo {
		if old != n && !old.pinned {
			t.fifo = append(t.fifo[:i], t.fifo[i+1:]...)
			return t.shut(old)
		}
	}
	return nil
}

func (t *tree) shut(n *node) error {
	d := n.dir
	n.dir = nil
	if d == nil {
		return nil
	}
	return d.Close()
}

// find returns the folder at a clean path, or nil if there is none or a symbolic link is on the way.
func (t *tree) find(path string) *node {
	n := t.root
	if path == "." {
		return n
	}
	for name := range strings.SplitSeq(path, "/") {
		if n = n.children[name]; n == nil {
			return nil
		}
	}
	return n
}

// folder returns the folder at path; create makes what is missing, as implied folders. Links of this layer are followed
// within it. Without create, nil means that there is none.
func (t *tree) folder(path string, create bool) (*node, error) {
	if t.last != nil && path == t.lastPath {
		return t.last, nil
	}
	n := t.root
	if path == "." {
		return n, nil
	}
	for done := 0; done < len(path); {
		name, _, more := strings.Cut(path[done:], "/")
		next := n.children[name]
		if next == nil {
			var err error
			if next, err = t.step(n, name, create); err != nil || next == nil {
				return nil, err
			}
		}
		n = next
		if done += len(name); more {
			done++
		}
	}
	t.lastPath, t.last = path, n
	return n, nil
}

// step goes from a folder to name, which is not a known folder in it.
func (t *tree) step(n *node, name string, create bool) (*node, error) {
	d, err := t.open(n)
	if err != nil {
		return nil, err
	}
	st, err := d.Lstat(name)
	switch {
	case errors.Is(err, syscall.ENOENT):
		if !create {
			return nil, nil
		}
		return t.mkdir(n, name)
	case err != nil:
		return nil, err
	case sys.IsDevice(&st, 0, 0): // our own whiteout: the new folder shall not show what is below
		if !create {
			return nil, nil
		}
		if err := d.Unlink(name); err != nil {
			return nil, err
		}
		made, err := t.mkdir(n, name)
		if err == nil {
			made.opaque = true
		}
		return made, err
	case st.Mode&syscall.S_IFMT == syscall.S_IFLNK:
		return t.follow(n, d, name)
	default:
		return nil, errdefs.Invalid("%q on the way is a file, not a folder", name)
	}
}

func (t *tree) mkdir(n *node, name string) (*node, error) {
	d, err := t.open(n)
	if err != nil {
		return nil, err
	}
	if err := d.Mkdir(name, 0o700); err != nil {
		return nil, fmt.Errorf("make folder %q: %w", name, err)
	}
	made := &node{name: name, parent: n, children: map[string]*node{}, meta: implied()}
	n.children[name] = made
	t.count++
	return made, nil
}

// follow resolves a symbolic link in the layer to a folder of the layer. The kernel walks, with the layer as its root;
// where it arrives is looked up in the tree by the path that the kernel tells.
func (t *tree) follow(n *node, d *sys.Dir, name string) (*node, error) {
	at, err := d.Realpath()
	if err != nil {
		return nil, err
	}
	target, err := t.root.dir.OpenDirInRoot(strings.TrimPrefix(at, t.path) + "/" + name)
	if err != nil {
		return nil, errdefs.New(errdefs.ErrInvalid, "symbolic link %q on the way leads to no folder of this layer: %w", name, err)
	}
	end, err := target.Realpath()
	if err := errors.Join(err, target.Close()); err != nil {
		return nil, err
	}
	rest, inside := strings.CutPrefix(end, t.path)
	if rest = strings.Trim(rest, "/"); rest == "" {
		rest = "."
	}
	found := t.find(rest)
	if !inside || found == nil {
		return nil, errdefs.Bug("symbolic link %q led to %q, which is no folder of the layer", name, end)
	}
	return found, nil
}

// forget takes a folder and all below it out of the tree.
func (t *tree) forget(n *node) error {
	t.last = nil
	delete(n.parent.children, n.name)
	var errs []error
	var drop func(*node)
	drop = func(n *node) {
		t.count--
		errs = append(errs, t.shut(n))
		for _, c := range n.children {
			drop(c)
		}
	}
	drop(n)
	kept := t.fifo[:0]
	for _, o := range t.fifo {
		if o.dir != nil {
			kept = append(kept, o)
		}
	}
	t.fifo = kept
	return errors.Join(errs...)
}
