package plan

import (
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

func (w *writer) mounts(p *Plan, f *Files) {
	for i, m := range p.Mounts {
		if m.Remount {
			w.remount(m, f.Places[i])
			continue
		}
		var mount fork.Arg
		switch made, ok := w.made[i]; {
		case f.Mounts[i] != nil:
			mount = w.b.File(f.Mounts[i])
		case ok:
			mount = made
		default:
			mount = w.newFS(m)
		}
		dir := m.FSType != "" || f.Places[i].Dir
		w.mountpoint(f.Places[i], dir)
		step := "mount " + m.name() + " on " + m.Destination
		target := w.place(step+": open the mount point", f.Places[i], 0)
		w.attach(step, mount, target)
		w.mount[f.Places[i].Path] = mount
		if m.FSType == "" {
			continue
		}
		if m.Propagation != 0 {
			w.setattr(step+": set propagation", mount, sys.MountAttr{Propagation: m.Propagation}, false)
		}
		if m.FSType == "mqueue" && p.MountLabel != "" {
			w.relabel(step+": label it", mount, p.MountLabel)
		}
		if m.Fresh() {
			w.fresh[f.Places[i].Path] = mount
		}
		if m.FSType == "proc" && w.proc == nil && m.Set&sys.MountRdonly == 0 {
			w.proc = &mount
		}
	}
}

// remount changes the mount at a place. The path must still lead to it: what is changed is a mount, not a folder.
func (w *writer) remount(m Mount, p rootfs.Place) {
	step := "remount " + m.Destination
	at := w.place(step+": open it", p, 0)
	if len(m.Params) > 0 {
		fs := w.b.Call(step+": open the file system", sys.NrFspick, at, w.b.Str(""), flags(sys.FspickEmpty|sys.FspickCloexec)).Result()
		for _, o := range m.Params {
			w.param(step, fs, o)
		}
		w.b.Call(step+": options", sys.NrFsconfig, fs, flags(sys.FsconfigCmdReconfigure), fork.Null(), fork.Null(), fork.Imm(0))
	}
	if m.Set|m.Clear != 0 {
		w.setattr(step, at, sys.MountAttr{Set: m.Set, Clear: m.Clear}, false)
	}
	if m.RecursiveSet|m.RecursiveClear != 0 {
		w.setattr(step, at, sys.MountAttr{Set: m.RecursiveSet, Clear: m.RecursiveClear}, true)
	}
}

// Fresh tells whether the mount is an empty file system made in the child, which mount points are made in there.
func (m Mount) Fresh() bool {
	return !m.CopyUp && !m.Remount && (m.FSType == "tmpfs" || m.FSType == "ramfs")
}

func (m Mount) name() string {
	if m.FSType != "" {
		return m.FSType
	}
	if m.Prepared {
		return "a prepared mount"
	}
	if m.Node != nil {
		return "device"
	}
	return m.Source
}

// newFS makes a file system, with the child's namespaces, and a detached mount of it.
func (w *writer) newFS(m Mount) fork.Arg {
	step := "mount " + m.FSType + " on " + m.Destination
	fs := w.b.Call(step+": open the file system", sys.NrFsopen, w.b.Str(m.FSType), flags(sys.FsopenCloexec)).Result()
	w.param(step, fs, Param{"source", &m.Source})
	for _, p := range m.Params {
		w.param(step, fs, p)
	}
	w.b.Call(step, sys.NrFsconfig, fs, flags(sys.FsconfigCmdCreate), fork.Null(), fork.Null(), fork.Imm(0))
	return w.b.Call(step, sys.NrFsmount, fs, flags(sys.FsmountCloexec), fork.Imm(m.Set)).Result()
}

func (w *writer) param(step string, fs fork.Arg, p Param) {
	step += ": option " + p.String()
	if p.Value == nil {
		w.b.Call(step, sys.NrFsconfig, fs, flags(sys.FsconfigSetFlag), w.b.Str(p.Key), fork.Null(), fork.Imm(0))
		return
	}
	w.b.Call(step, sys.NrFsconfig, fs, flags(sys.FsconfigSetString), w.b.Str(p.Key), w.b.Str(*p.Value), fork.Imm(0))
}

// mountpoint makes what is missing of a place in a file system that the child has made itself. All others were made
// before the fork.
func (w *writer) mountpoint(p rootfs.Place, dir bool) {
	fs, ok := w.fresh[p.Fresh]
	if !ok || p.Path == p.Fresh {
		return
	}
	parent := path.Dir(p.Path)
	if dir {
		parent = p.Path
	}
	w.folders(fs, p.Fresh, parent)
	if !dir {
		w.b.Call("make file "+p.Path, sys.NrMknodat, fs, w.b.Str(below(p.Path, p.Fresh)), fork.Imm(syscall.S_IFREG|0o644), fork.Imm(0)).
			Ignore(syscall.EEXIST)
	}
}

// folders makes the folders from a fresh file system's root down to a path.
func (w *writer) folders(fs fork.Arg, root, to string) {
	at := ""
	for name := range strings.SplitSeq(below(to, root), "/") {
		if name == "." {
			return
		}
		at = path.Join(at, name)
		w.b.Call("make folder "+path.Join(root, at), sys.NrMkdirat, fs, w.b.Str(at), fork.Imm(0o755)).Ignore(syscall.EEXIST)
	}
}

// devices come after the mounts, which must find no links in a fresh /dev.
func (w *writer) devices(p *Plan, f *Files) {
	for i, d := range p.Devices {
		dir, name, own := w.folder(f.Devices[i], d.Path)
		c := w.b.Call("make device "+d.Path, sys.NrMknodat, dir, w.b.Str(name), fork.Imm(uint64(d.Mode)), fork.Imm(d.Dev))
		if !own {
			c.Ignore(syscall.EEXIST) // the image brought its own /dev
		} else if d.UID != 0 || d.GID != 0 {
			w.b.Call("set owner of device "+d.Path, sys.NrFchownat, dir, w.b.Str(name),
				fork.Imm(uint64(d.UID)), fork.Imm(uint64(d.GID)), flags(sys.AtSymlinkNofollow))
		}
	}
	for i, l := range p.Links {
		dir, name, _ := w.folder(f.Links[i], l.Path)
		w.b.Call("make link "+l.Path, sys.NrSymlinkat, w.b.Str(l.Target), dir, w.b.Str(name)).Ignore(syscall.EEXIST)
	}
}

// folder returns a folder and the name in it for a file to make; own tells whether the child itself made the file system.
func (w *writer) folder(p rootfs.Place, file string) (dir fork.Arg, name string, own bool) {
	if fs, ok := w.fresh[p.Fresh]; ok {
		w.folders(fs, p.Fresh, p.Path)
		return fs, path.Join(below(p.Path, p.Fresh), path.Base(file)), true
	}
	return w.place("make "+file+": open its folder", p, syscall.O_DIRECTORY), path.Base(file), false
}

// console shows the terminal's slave as /dev/console. It is taken from the devpts mount itself, which is new and the
// container's own, by its number: no path of the container's is involved (CVE-2025-52565).
func (w *writer) console(p *Plan, f *Files) {
	if !p.Process.Terminal {
		return
	}
	devpts := w.b.File(f.Mounts[p.devpts()])
	w.mountpoint(f.Console, false)
	slave := w.b.Call("copy the terminal's mount", sys.NrOpenTree, devpts, w.b.Str(strconv.Itoa(f.PTY)),
		flags(sys.OpenTreeClone|sys.OpenTreeCloexec)).Result()
	target := w.place("mount the terminal on /dev/console: open the mount point", f.Console, 0)
	w.attach("mount the terminal on /dev/console", slave, target)
}
