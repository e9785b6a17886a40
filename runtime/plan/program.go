package plan

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

// Program writes the plan down as system calls. It takes over the files, also when it fails: f is empty afterwards.
func (p *Plan) Program(f *Files) (_ *fork.Program, err error) {
	w := &writer{
		b: fork.NewBuilder(), fresh: make(map[string]fork.Arg), mount: make(map[string]fork.Arg), made: make(map[int]fork.Arg),
	}
	w.root = w.b.File(f.Root)
	w.tasks(f.Tasks)
	w.namespaces(p, f)
	w.begin()
	w.names(p)
	w.enterRoot(p, f)
	w.mounts(p, f)
	w.devices(p, f)
	w.console(p, f)
	w.hooks(p.Launch)
	w.kernelFiles(p)
	w.keyring(p.Launch)
	w.readonly(p, f)
	w.masks(p, f)
	w.finishRoot(p, f)
	w.mountpoint(f.Cwd, true)
	w.backToHost(p, f)
	w.process(&p.Process, p.Launch)
	*f = Files{} // all of them are the builder's by now
	prog, err := w.b.Program()
	if err != nil {
		return nil, errors.Join(err, w.b.Close())
	}
	return prog, nil
}

// writer turns steps into calls. What it opens in the child stays open until execve: all of it is close-on-exec.
type writer struct {
	b     *fork.Builder
	root  fork.Arg            // what paths are resolved against
	fresh map[string]fork.Arg // file systems made in the child that mount points are made in, by path
	mount map[string]fork.Arg // what is mounted, the innermost of each path
	proc  *fork.Arg           // a procfs that nobody else can have changed

	made   map[int]fork.Arg // mounts that are made before their turn, by index of the plan
	masked map[int]fork.Arg // what covers masked paths, by index of the plan
}

const (
	inRoot     = sys.ResolveInRoot | sys.ResolveNoMagiclinks
	inRootOnly = inRoot | sys.ResolveNoSymlinks
)

func flags(v int) fork.Arg { return fork.Imm(uint64(v)) }

// tasks joins v1 control groups first, so that all that follows is accounted to the container.
func (w *writer) tasks(tasks []*os.File) {
	for _, t := range tasks {
		w.b.Call("join control group "+t.Name(), sys.NrWrite, w.b.File(t), w.b.Str("0"), fork.Imm(1))
	}
}

// begin makes what a process has to itself.
func (w *writer) begin() {
	w.b.Call("set umask", sys.NrUmask, fork.Imm(0))
	w.b.Call("make a session", sys.NrSetsid)
}

// keyring comes behind the labels, one of which is its own, and not before the user namespace, whose user it belongs to. A
// session keyring is no part of any namespace but that: without a new one the container would see the keeper's keys. Kernels
// without keyrings and hosts whose quota is used up have none to share either way.
func (w *writer) keyring(l Launch) {
	if !l.NoNewKeyring {
		w.b.Call("make a session keyring", sys.NrKeyctl, fork.Imm(sys.KeyctlJoinSession), fork.Null()).
			Ignore(syscall.ENOSYS, syscall.EDQUOT, syscall.EPERM)
	}
}

// namespaces enters those of the plan that the launcher has not made.
func (w *writer) namespaces(p *Plan, f *Files) {
	if p.User != nil {
		w.enterUser(p, f)
		return
	}
	offsets := w.openOffsets(p)
	w.join(p, f)
	w.setOffsets(p, offsets)
	if p.Inner != 0 {
		w.proc = nil
		w.b.Clone("clone a process into the container's namespaces", p.Inner&^sys.CloneNewtime)
	}
}

func (w *writer) join(p *Plan, f *Files) {
	for _, mount := range [...]bool{false, true} { // the mount namespace last: its root may have another /proc
		for i, ns := range p.Join {
			if Flag(ns.Type) == syscall.CLONE_NEWPID && p.LauncherJoinsPID() || (ns.Type == specs.MountNamespace) != mount {
				continue
			}
			w.b.Call("join "+string(ns.Type)+" namespace "+ns.Path, sys.NrSetns, w.b.File(f.Join[i]), fork.Imm(Flag(ns.Type)))
			if ns.Type == specs.UTSNamespace {
				w.hostnames(p)
			}
		}
	}
}

// names finishes the namespaces that are made.
func (w *writer) names(p *Plan) {
	if p.UnshareCgroup {
		w.b.Call("make a cgroup namespace", sys.NrUnshare, fork.Imm(sys.CloneNewcgroup))
	}
	if !p.joins(specs.UTSNamespace) {
		w.hostnames(p)
	}
	w.loopback(p)
}

func (w *writer) hostnames(p *Plan) {
	if p.Hostname != "" {
		w.b.Call("set host name "+p.Hostname, sys.NrSethostname, w.b.Str(p.Hostname), fork.Imm(uint64(len(p.Hostname))))
	}
	if p.Domainname != "" {
		w.b.Call("set domain name "+p.Domainname, sys.NrSetdomain, w.b.Str(p.Domainname), fork.Imm(uint64(len(p.Domainname))))
	}
}

func (w *writer) privateMounts() {
	w.b.Call("make the host's mounts private", sys.NrMount, fork.Null(), w.b.Str("/"), fork.Null(),
		fork.Imm(syscall.MS_REC|syscall.MS_PRIVATE), fork.Null())
}

// enterRoot makes the root mount the root of the mount namespace and drops the host's mounts, before anything is
// resolved in it: from then on no link leads to a file of the host.
func (w *writer) enterRoot(p *Plan, f *Files) {
	w.privateMounts()
	if p.User == nil {
		w.masked = w.makeMasks(f.Masked, p.attachment())
	} else {
		w.kernelMounts(p, f)
	}
	w.attachRoot(p.Launch)
}

// open opens a path below dir as a place only. The path is relative to dir or absolute; both are taken inside of it.
func (w *writer) open(step string, dir fork.Arg, path string, mode int, resolve uint64) *fork.Call {
	how := sys.OpenHow(sys.OPath|mode, 0, resolve)
	return w.b.Call(step, sys.NrOpenat2, dir, w.b.Str(below(path, "/")), w.b.Bytes(how), fork.Imm(uint64(len(how))))
}

// place opens a resolved place, in the mount that it is in: the folder that the mount is attached to may have another name
// by now, and what has its name may hold anything (CVE-2025-31133, CVE-2025-52881). Links are refused except where the
// kernel made them: one that is there now was put there since the place was resolved. After an error that is ignored the
// result is -1.
func (w *writer) place(step string, p rootfs.Place, mode int, ignore ...syscall.Errno) fork.Arg {
	mount, ok := w.mount[p.Mount]
	if !ok {
		mount = w.root
	}
	if p.Path == p.Mount { // may be a file, in which there is nothing to open
		return mount
	}
	resolve := uint64(inRootOnly)
	if p.Kernel {
		resolve = inRoot
	}
	return w.open(step, mount, below(p.Path, p.Mount), mode, resolve).Ignore(ignore...).Result()
}

func (w *writer) attach(step string, mount, target fork.Arg) *fork.Call {
	return w.b.Call(step, sys.NrMoveMount, mount, w.b.Str(""), target, w.b.Str(""), flags(sys.MoveMountEmptyPaths))
}

func (w *writer) setattr(step string, mount fork.Arg, attr sys.MountAttr, recursive bool) *fork.Call {
	data := sys.MountAttrBytes(attr)
	at := sys.AtEmptyPath
	if recursive {
		at |= sys.AtRecursive
	}
	return w.b.Call(step, sys.NrMountSetattr, mount, w.b.Str(""), flags(at), w.b.Bytes(data), fork.Imm(uint64(len(data))))
}

// below returns path as seen from dir, "." for dir itself.
func below(path, dir string) string {
	rel := strings.Trim(strings.TrimPrefix(path, dir), "/")
	if rel == "" {
		return "."
	}
	return rel
}
