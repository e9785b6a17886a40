package plan

import (
	"strconv"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

// kernelFiles writes to /proc, before parts of it become read-only. The files are reached through a procfs mount that
// the child has made, which nothing can be mounted over meanwhile, and without leaving it (CVE-2025-52881).
func (w *writer) kernelFiles(p *Plan) {
	for _, s := range p.Sysctls {
		w.writeProc("set sysctl "+s.Path, "sys/"+s.Path, s.Value)
	}
	if p.User == nil {
		w.oomScoreAdj(&p.Process)
	}
	w.labels(&p.Process, p.Launch)
}

func (w *writer) oomScoreAdj(p *Process) {
	value := strconv.Itoa(p.OOMScoreAdj)
	c := w.writeProc("set oom_score_adj to "+value, "self/oom_score_adj", value)
	if p.MayNotLower {
		c.Ignore(syscall.EACCES, syscall.EPERM)
	}
}

func (w *writer) writeProc(step, file, value string) *fork.Call {
	f := w.openProc(step, file)
	return w.b.Call(step, sys.NrWrite, f, w.b.Str(value), fork.Imm(uint64(len(value))))
}

func (w *writer) openProc(step, file string) fork.Arg {
	if w.proc == nil {
		m := w.newFS(Mount{Destination: "nowhere", FSType: "proc", Source: "proc"})
		w.proc = &m
	}
	return w.inside(step, *w.proc, file, syscall.O_WRONLY).Result()
}

// inside opens a file of a file system that the child has made, without leaving it.
func (w *writer) inside(step string, fs fork.Arg, file string, mode int) *fork.Call {
	how := sys.OpenHow(mode, 0, sys.ResolveBeneath|sys.ResolveNoMagiclinks|sys.ResolveNoXdev)
	return w.b.Call(step+": open", sys.NrOpenat2, fs, w.b.Str(file), w.b.Bytes(how), fork.Imm(uint64(len(how))))
}

// readonly covers paths with read-only mounts of themselves. What is not there needs no protection: its file is -1 in
// the calls that follow, which therefore may fail with EBADF and nothing else.
func (w *writer) readonly(p *Plan, f *Files) {
	for i, path := range p.ReadonlyPaths {
		step := "make " + path + " read-only"
		target := w.place(step+": open it", f.Readonly[i], 0, syscall.ENOENT, syscall.ENOTDIR)
		mount := w.b.Call(step+": copy its mount", sys.NrOpenTree, target, w.b.Str(""),
			flags(sys.OpenTreeClone|sys.OpenTreeCloexec|sys.AtEmptyPath|sys.AtRecursive)).Ignore(syscall.EBADF).Result()
		w.setattr(step, mount, sys.MountAttr{Set: sys.MountRdonly}, true).Ignore(syscall.EBADF)
		w.attach(step, mount, target).Ignore(syscall.EBADF)
	}
}

const nullDevice = 1<<8 | 3

// makeMasks makes what paths are hidden behind: a null device and an empty folder on a read-only tmpfs of their own. The
// container's /dev/null is not used, which it could have replaced (CVE-2025-31133), nor the host's, whose mode it could
// change. Each path needs a copy of its own; before Linux 6.15 they can only be taken from a mount that is attached, which
// hides what is at that place. A copy that is not used in the end is expensive: to drop it the kernel waits for an RCU grace
// period. So there are none for paths that do not exist.
func (w *writer) makeMasks(places []rootfs.Place, at attachment) map[int]fork.Arg {
	var names []string
	var which []int
	for i, p := range places {
		switch {
		case !p.Exists:
			continue
		case p.Dir:
			names = append(names, "folder")
		default:
			names = append(names, "null")
		}
		which = append(which, i)
	}
	if len(which) == 0 {
		return nil
	}
	mode, size := "0755", "4k"
	tmpfs := w.newFS(Mount{
		Destination: "masked paths", FSType: "tmpfs", Source: "masks",
		Params: []Param{{"mode", &mode}, {"size", &size}}, Set: sys.MountNosuid | sys.MountNoexec,
	})
	w.b.Call("make a null device for masked paths", sys.NrMknodat, tmpfs, w.b.Str("null"), fork.Imm(syscall.S_IFCHR|0o666), fork.Imm(nullDevice))
	w.b.Call("make a folder for masked paths", sys.NrMkdirat, tmpfs, w.b.Str("folder"), fork.Imm(0o555))
	w.setattr("make masks read-only", tmpfs, sys.MountAttr{Set: sys.MountRdonly}, false)
	masks := make(map[int]fork.Arg)
	for n, c := range w.copies("masks", tmpfs, names, at) {
		masks[which[n]] = c
	}
	return masks
}

// attachment is where a file system is attached for as long as mounts are copied from it.
type attachment struct {
	path string
	stay bool // until the host's mounts are detached: a detachment of its own costs an RCU grace period
}

// attachment returns the host's root, which is always there; or its /proc, if nobody looks at that any more.
func (p *Plan) attachment() attachment {
	// Hooks see the host's /proc; a user namespace gets one of its own only where the host's is in sight (kernelMounts);
	// a mount namespace of somebody else's may have none.
	if p.User != nil || p.Launch.HookRoot != "" || p.joins(specs.MountNamespace) {
		return attachment{path: "/"}
	}
	return attachment{path: "/proc", stay: true}
}

// copies returns detached mounts of what has these names in a detached file system, which ends with this.
func (w *writer) copies(what string, tmpfs fork.Arg, names []string, at attachment) []fork.Arg {
	w.b.Call("attach "+what, sys.NrMoveMount, tmpfs, w.b.Str(""), fork.Int(sys.AtFdcwd), w.b.Str(at.path), flags(sys.MoveMountEmptyFrom))
	list := make([]fork.Arg, len(names))
	for i, name := range names {
		list[i] = w.b.Call("copy one of the "+what, sys.NrOpenTree, tmpfs, w.b.Str(name), flags(sys.OpenTreeClone|sys.OpenTreeCloexec)).Result()
	}
	if at.stay {
		return list
	}
	// On the root it must not stay: what is mounted on the host's root would be unmounted in its stead after pivot_root.
	w.b.Call("enter the "+what, sys.NrFchdir, tmpfs)
	w.b.Call("detach "+what, sys.NrUmount, w.b.Str("."), flags(syscall.MNT_DETACH))
	return list
}

// masks hides paths. A folder can't be covered by a file nor the other way round: the kernel refuses it, and so does the
// start. It also fails if a path is there by now that was not when it was looked for.
func (w *writer) masks(p *Plan, f *Files) {
	for i, path := range p.MaskedPaths {
		step, mode := "mask "+path, 0
		if f.Masked[i].Exists && f.Masked[i].Dir {
			mode = syscall.O_DIRECTORY
		}
		target := w.place(step+": open it", f.Masked[i], mode, syscall.ENOENT, syscall.ENOTDIR)
		if mask, ok := w.masked[i]; ok {
			w.attach(step, mask, target).Ignore(syscall.EBADF)
			continue
		}
		// Of a descriptor this fails with ENOENT, as it is of no link; of none with EBADF.
		w.b.Call(step+": it was not there when the container was created, and is now", sys.NrReadlinkat,
			target, w.b.Str(""), w.b.Bytes(make([]byte, 8)), fork.Imm(8)).Ignore(syscall.EBADF)
	}
}

// finishRoot sets what would have been in the way so far.
func (w *writer) finishRoot(p *Plan, f *Files) {
	for i, m := range p.Mounts {
		if m.CopyUp && m.LateReadonly {
			w.setattr("make "+m.Destination+" read-only", w.b.File(f.Mounts[i]), sys.MountAttr{Set: sys.MountRdonly}, false)
		}
		if fs, ok := w.fresh[f.Places[i].Path]; ok && m.LateReadonly {
			w.setattr("make "+m.Destination+" read-only", fs, sys.MountAttr{Set: sys.MountRdonly}, false)
		}
	}
	if p.RootReadonly {
		w.setattr("make the root read-only", w.root, sys.MountAttr{Set: sys.MountRdonly}, false)
	}
	if p.RootPropagation != 0 {
		w.setattr("set the root's propagation", w.root, sys.MountAttr{Propagation: p.RootPropagation}, false)
	}
}
