package plan

import (
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// A container without a mount namespace of its own is in the launcher's (runtime-spec, config-linux.md, "Namespaces": it
// MUST inherit that). Its mounts are not: they are made in a namespace that ends with the start, and what stays is a copy
// that belongs to none, as the process's root. So the host never sees them, nothing is left of them when the last process
// has ended, however that or berth did, and chroot(2) leads no further up than the container's root.

// inheritMounts plans that.
func (p *Plan) inheritMounts(facts Facts) error {
	switch {
	case !facts.HostMounts:
		return errdefs.NotSupported("linux.namespaces: a mount namespace is missing: not supported by berth outside of the OCI command line")
	case p.User != nil: // who is root there alone may not enter the host's namespace
		return errdefs.Invalid("linux.namespaces: a container with a user namespace needs a mount namespace too")
	}
	p.HostMounts = true
	p.Flags |= syscall.CLONE_NEWNS
	return nil
}

// checkCopied refuses mounts of which the kernel makes no copy.
func (p *Plan) checkCopied() error {
	if p.HostMounts && p.RootPropagation == syscall.MS_UNBINDABLE {
		return errdefs.Invalid("linux.rootfsPropagation: unbindable needs a mount namespace in linux.namespaces")
	}
	for i, m := range p.Mounts {
		if p.HostMounts && m.Propagation == syscall.MS_UNBINDABLE {
			return errdefs.Invalid("mounts[%d] on %s: option unbindable needs a mount namespace in linux.namespaces", i, m.Destination)
		}
	}
	return nil
}

// backToHost leaves the namespace in which the mounts were made.
func (w *writer) backToHost(p *Plan, f *Files) {
	if !p.HostMounts {
		return
	}
	w.root = w.b.Call("copy the root with all that is mounted in it", sys.NrOpenTree, w.root, w.b.Str(""),
		flags(sys.OpenTreeClone|sys.OpenTreeCloexec|sys.AtEmptyPath|sys.AtRecursive)).Result()
	w.b.Call("return to the host's mount namespace", sys.NrSetns, w.b.File(f.Host), flags(syscall.CLONE_NEWNS))
	w.changeRoot()
}

// changeRoot is what setns(2) makes necessary: it leads to the namespace's own root.
func (w *writer) changeRoot() {
	w.b.Call("enter the root", sys.NrFchdir, w.root)
	w.b.Call("change the root", sys.NrChroot, w.b.Str("."))
}
