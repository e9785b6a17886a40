package rootfs

import (
	"errors"
	"io/fs"
	"os"
	pathpkg "path"
	"slices"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Tree is a root file system with the mounts that a container will see in it, before any of them is attached. It finds
// out where a path will lead then, and makes mount points.
//
// Each step of a path is one openat2 of a single name in an open folder, which follows no link; links are read and
// walked here, so that an absolute one starts again at the root. What is being resolved may change meanwhile (a volume
// can be shared with running containers): the child opens the canonical path again, in the mount that it is in, refusing
// links.
//
// A Tree borrows the files given to it. It is not safe for concurrent use.
type Tree struct {
	mounts []treeMount // mounts[0] is the root; none lies below an earlier one that it would be hidden by
}

type treeMount struct {
	path string
	file *os.File // nil unless real
	kind mountKind
	dir  bool

	owner Owner // of what is made in it
}

// Owner is who gets what a Tree makes, in the numbers of the file system; the zero value is root.
type Owner struct{ UID, GID uint32 }

type mountKind uint8

const (
	kindReal   mountKind = iota // an open, detached mount
	kindFresh                   // an empty file system to be made in the child, which makes mount points in it too
	kindFile                    // a file to be made in the child, which nothing can be below
	kindKernel                  // proc, sysfs and the like, made in the child: nothing can be made in it
)

// Place is where a path leads to.
type Place struct {
	Path   string // canonical: absolute, clean, without links
	Exists bool   // never known, and false, of what is in a Fresh or Kernel mount
	Dir    bool
	Mount  string // path of the innermost mount that it is in; "/" is the root
	Fresh  string // path of the fresh mount that it is in; "" otherwise. What is between the two is still to be made
	Kernel bool   // it is in a file system of the kernel, where links can be trusted
}

const (
	maxLinks = 40 // as in the kernel
	maxPath  = 4096
)

// NewTree returns the tree of a root without mounts.
func NewTree(root *os.File, owner Owner) *Tree {
	return &Tree{mounts: []treeMount{{path: "/", file: root, dir: true, owner: owner}}}
}

// Mount adds a detached mount at a canonical path, the Path of a Place.
func (t *Tree) Mount(path string, m *os.File, owner Owner) error {
	info, err := m.Stat()
	if err != nil {
		return err
	}
	t.add(treeMount{path: path, file: m, dir: info.IsDir(), owner: owner})
	return nil
}

// MountFresh adds an empty file system that will be made in the child.
func (t *Tree) MountFresh(path string) { t.add(treeMount{path: path, kind: kindFresh, dir: true}) }

// MountFile adds a mount of a single file that will be made in the child.
func (t *Tree) MountFile(path string) { t.add(treeMount{path: path, kind: kindFile}) }

// MountKernel adds a file system of the kernel that will be made in the child.
func (t *Tree) MountKernel(path string) { t.add(treeMount{path: path, kind: kindKernel, dir: true}) }

// add drops the mounts that the new one hides.
func (t *Tree) add(m treeMount) {
	t.mounts = slices.DeleteFunc(t.mounts, func(have treeMount) bool { return within(have.path, m.path) })
	t.mounts = append(t.mounts, m)
}

// within tells whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}

// over returns the innermost mount that path is in.
func (t *Tree) over(path string) treeMount {
	best := t.mounts[0]
	for _, m := range t.mounts {
		if within(path, m.path) && len(m.path) >= len(best.path) {
			best = m
		}
	}
	return best
}

// Find resolves a path. What does not exist is no error: its Place says so.
func (t *Tree) Find(path string) (Place, error) { return t.walk(path, nil) }

// Open opens the folder at a place; nil if that is in a file system that does not exist yet. The caller closes it.
func (t *Tree) Open(p Place) (*os.File, error) {
	m := t.over(p.Path)
	if m.kind != kindReal || !p.Exists {
		return nil, nil
	}
	return sys.Openat2(m.file, relative(p.Path, m.path), syscall.O_RDONLY|syscall.O_DIRECTORY, 0, resolve|sys.ResolveNoSymlinks)
}

// Make resolves a path and makes what is missing of it: folders of mode 0755 and, unless dir, an empty file of mode 0644
// at its end. What exists must be of the kind asked for.
func (t *Tree) Make(path string, dir bool) (Place, error) {
	p, err := t.walk(path, &dir)
	if err != nil {
		return p, err
	}
	if p.Exists && p.Dir != dir {
		if dir {
			return p, errdefs.Invalid("%s is a file in the container's root, not a folder", p.Path)
		}
		return p, errdefs.Invalid("%s is a folder in the container's root, not a file", p.Path)
	}
	return p, nil
}

// walk resolves a path; if dir is not nil it makes what is missing, the end as a folder or a file as *dir says.
func (t *Tree) walk(path string, dir *bool) (Place, error) {
	if len(path) > maxPath || strings.ContainsRune(path, 0) {
		return Place{}, errdefs.Invalid("path %.64q… is too long or has a NUL in it", path)
	}
	w := walker{tree: t, todo: split(path), place: Place{Path: "/", Exists: true, Dir: true}, make: dir}
	for len(w.todo) > 0 {
		name := w.todo[0]
		w.todo = w.todo[1:]
		if err := w.step(name); err != nil {
			return Place{}, &fs.PathError{Op: "resolve in the container's root", Path: path, Err: err}
		}
	}
	m := t.over(w.place.Path)
	w.place.Mount = m.path
	w.place.Kernel = m.kind == kindKernel
	if m.kind == kindFresh {
		w.place.Fresh = m.path
	}
	if m.kind != kindReal && m.path != w.place.Path {
		w.place.Exists, w.place.Dir = false, false
	}
	return w.place, nil
}

// split returns the names of a path, without "" and ".".
func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

type walker struct {
	tree  *Tree
	todo  []string
	place Place // so far; a folder unless todo is empty
	make  *bool
	links int
}

func (w *walker) step(name string) error {
	at := w.place.Path
	if !w.place.Dir {
		return syscall.ENOTDIR
	}
	if name == ".." { // canonical paths have no links in them, so the parent is the one by name
		w.place = Place{Path: pathpkg.Dir(at), Exists: true, Dir: true}
		return nil
	}
	next := pathpkg.Join(at, name)
	if m := w.tree.over(next); m.path == next {
		w.place = Place{Path: next, Exists: true, Dir: m.dir}
		return nil
	}
	m := w.tree.over(at)
	if m.kind != kindReal || !w.place.Exists {
		w.place = Place{Path: next, Dir: true, Exists: m.kind != kindReal}
		return nil
	}
	f, err := sys.Openat2(m.file, relative(next, m.path), sys.OPath|syscall.O_NOFOLLOW, 0, resolve|sys.ResolveNoSymlinks)
	switch {
	case errors.Is(err, fs.ErrNotExist) && w.make == nil:
		w.place = Place{Path: next, Dir: true} // of what is below it, nothing exists either
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return w.makeNext(m, next, name)
	case err != nil:
		return err
	}
	return errors.Join(w.enter(next, f), f.Close())
}

// enter goes on to an existing file, or to what a link says.
func (w *walker) enter(next string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		w.place = Place{Path: next, Exists: true, Dir: info.IsDir()}
		return nil
	}
	target, err := sys.Readlink(f)
	if err != nil {
		return err
	}
	if w.links++; w.links > maxLinks || target == "" {
		return syscall.ELOOP
	}
	if strings.HasPrefix(target, "/") {
		w.place = Place{Path: "/", Exists: true, Dir: true}
	}
	w.todo = append(split(target), w.todo...)
	return nil
}

// makeNext makes a name that was missing in the folder walked to.
func (w *walker) makeNext(m treeMount, next, name string) error {
	parent, err := sys.Openat2(m.file, relative(w.place.Path, m.path), sys.OPath|syscall.O_DIRECTORY, 0, resolve|sys.ResolveNoSymlinks)
	if err != nil {
		return err
	}
	dir := len(w.todo) > 0 || *w.make
	if dir {
		err = makeFolder(parent, name, m.owner)
	} else {
		err = makeFile(parent, name, m.owner)
	}
	w.place = Place{Path: next, Exists: true, Dir: dir}
	return errors.Join(err, parent.Close())
}

// makeFolder makes a folder whatever the umask says. That somebody else made it first is fine: it is opened again.
func makeFolder(parent *os.File, name string, owner Owner) error {
	if err := sys.Mkdirat(parent, name, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	f, err := sys.Openat2(parent, name, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0, resolve|sys.ResolveNoSymlinks)
	if err != nil {
		return err
	}
	return errors.Join(owner.give(f), f.Chmod(0o755), f.Close())
}

func (o Owner) give(f *os.File) error {
	if o == (Owner{}) {
		return nil
	}
	return f.Chown(int(o.UID), int(o.GID))
}

func makeFile(parent *os.File, name string, owner Owner) error {
	f, err := sys.Openat2(parent, name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW, 0o644, resolve|sys.ResolveNoSymlinks)
	if err != nil {
		return err
	}
	return errors.Join(owner.give(f), f.Chmod(0o644), f.Close())
}

// relative returns path as seen from the mount at dir.
func relative(path, dir string) string {
	return inside(strings.TrimPrefix(path, strings.TrimSuffix(dir, "/")))
}
