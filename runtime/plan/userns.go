package plan

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/userns"
)

// User is the user namespace that a container is in.
type User struct {
	Path     string          `json:",omitempty"` // to join; "": it is made
	Mappings userns.Mappings // of one to join, those that it must have; whoever opens it fills in what was not said
}

// Target is what a process that joins a running container has to know of it besides its spec: the kernel's answer
// (prepare.Target).
type Target struct {
	Known bool             // the kernel was asked: without that no program is written
	User  *userns.Mappings // nil: the container is in the user namespace of the forking process
	Time  bool             // it has a time namespace of its own
}

func (p *Plan) user(spec *specs.Spec) error {
	l := spec.Linux
	m := userns.Mappings{UIDs: mappings(l.UIDMappings), GIDs: mappings(l.GIDMappings)}
	given := len(m.UIDs)+len(m.GIDs) > 0
	if p.User == nil {
		if given {
			return errdefs.Invalid("linux.uidMappings: needs a user namespace in linux.namespaces")
		}
		return nil
	}
	if p.User.Path != "" && !given {
		return nil // they are read from it
	}
	if err := m.Check("linux."); err != nil {
		return err
	}
	p.User.Mappings = m
	return p.User.CheckProcess(spec.Process)
}

// CheckProcess makes sure that the process's user, and root, who sets the container up, exist in the namespace.
func (u *User) CheckProcess(proc *specs.Process) error { return checkIDs(u.Mappings, proc) }

func checkIDs(m userns.Mappings, proc *specs.Process) error {
	ids := []struct {
		field string
		id    uint32
		host  func(uint32) (uint32, bool)
	}{
		{"linux.uidMappings: root", 0, m.HostUID},
		{"linux.gidMappings: group", 0, m.HostGID},
		{"process.user.uid: user", proc.User.UID, m.HostUID},
		{"process.user.gid: group", proc.User.GID, m.HostGID},
	}
	for _, g := range proc.User.AdditionalGids {
		ids = append(ids, struct {
			field string
			id    uint32
			host  func(uint32) (uint32, bool)
		}{"process.user.additionalGids: group", g, m.HostGID})
	}
	for _, i := range ids {
		if _, ok := i.host(i.id); !ok {
			return errdefs.Invalid("%s %d is not mapped in the user namespace", i.field, i.id)
		}
	}
	return nil
}

func mappings(list []specs.LinuxIDMapping) []userns.Mapping {
	var out []userns.Mapping
	for _, m := range list {
		out = append(out, userns.Mapping{ContainerID: m.ContainerID, HostID: m.HostID, Size: m.Size})
	}
	return out
}

// Node is a device that a container in a user namespace, where nothing can make one, gets as a mount of its own.
type Node struct {
	Device
	Default bool // root of the container owns it; others belong to whom they belong on the host, which is what guards them
}

// bindDevices turns the devices into mounts, which come last.
func (p *Plan) bindDevices(defaults int) {
	if p.User == nil {
		return
	}
	for i, d := range p.Devices {
		p.Mounts = append(p.Mounts, Mount{Destination: d.Path, Node: &Node{Device: d, Default: i < defaults}})
	}
	p.Devices = nil
}

// enterUser does what the host's root has to, joins the user namespace and goes on in a process that is in all of the
// container's namespaces. Unlike a container without a user namespace, its first process belongs there from its birth.
func (w *writer) enterUser(p *Plan, f *Files) {
	w.b.Call("set umask", sys.NrUmask, fork.Imm(0))
	w.raiseLimits(p.Process.Rlimits)
	w.oomScoreAdj(&p.Process)
	w.privateMounts()
	w.masked = w.makeMasks(f.Masked, p.attachment())
	w.makeNodes(p)
	w.join(p, f)
	offsets := w.openOffsets(p)
	w.b.Call("join the user namespace", sys.NrSetns, w.b.File(f.User), fork.Imm(sys.CloneNewuser))
	w.setOffsets(p, offsets)
	w.proc = nil // it shows another PID namespace
	if p.Inner&(sys.CloneNewpid|sys.CloneNewtime) != 0 {
		w.b.Clone("clone a process into the container's namespaces", p.Inner&^sys.CloneNewtime)
	} else if p.Inner != 0 {
		w.b.Call("make the container's namespaces", sys.NrUnshare, fork.Imm(p.Inner))
	}
	w.becomeRoot()
}

// becomeRoot takes the identity that files made from here on belong to. Capabilities, of the user namespace, stay.
func (w *writer) becomeRoot() {
	root := fork.Imm(0)
	w.b.Call("become root of the user namespace: group", sys.NrSetresgid, root, root, root)
	w.b.Call("become root of the user namespace: user", sys.NrSetresuid, root, root, root)
	w.hide()
}

// raiseLimits raises hard limits while that is allowed; they are set when all else is done.
func (w *writer) raiseLimits(list []Rlimit) {
	for _, l := range list {
		if l.Own != 0 {
			w.b.Call(fmt.Sprintf("raise %s to %d", l.Name, l.Hard), sys.NrPrlimit,
				fork.Imm(0), flags(l.Resource), w.b.Bytes(sys.RlimitBytes(l.Own, l.Hard)), fork.Null())
		}
	}
}

// makeNodes makes the devices on a file system of the host's, on which they work. See makeMasks for why it is attached.
func (w *writer) makeNodes(p *Plan) {
	var names []string
	var at []int
	mode, size := "0755", "64k"
	var tmpfs fork.Arg
	for i, m := range p.Mounts {
		if m.Node == nil {
			continue
		}
		if len(names) == 0 {
			tmpfs = w.newFS(Mount{
				Destination: "devices", FSType: "tmpfs", Source: "devices",
				Params: []Param{{"mode", &mode}, {"size", &size}}, Set: sys.MountNosuid | sys.MountNoexec,
			})
		}
		name := fmt.Sprint(i)
		w.makeNode(tmpfs, name, m.Node, p.User.Mappings)
		names, at = append(names, name), append(at, i)
	}
	if len(names) == 0 {
		return
	}
	for n, c := range w.copies("devices", tmpfs, names, p.attachment()) {
		w.made[at[n]] = c
	}
}

func (w *writer) makeNode(dir fork.Arg, name string, n *Node, m userns.Mappings) {
	uid, gid := n.UID, n.GID
	if n.Default {
		uid, _ = m.HostUID(0)
		gid, _ = m.HostGID(0)
	}
	w.b.Call("make device "+n.Path, sys.NrMknodat, dir, w.b.Str(name), fork.Imm(uint64(n.Mode)), fork.Imm(n.Dev))
	if uid != 0 || gid != 0 {
		w.b.Call("set owner of device "+n.Path, sys.NrFchownat, dir, w.b.Str(name), fork.Imm(uint64(uid)), fork.Imm(uint64(gid)), flags(sys.AtSymlinkNofollow))
	}
}

// kernelMounts makes the container's file systems while the host's are still in sight: the kernel shows those of its own to
// a user namespace only where it could be seen already (mount_too_revealing in fs/namespace.c).
func (w *writer) kernelMounts(p *Plan, f *Files) {
	proc := false
	for i, m := range p.Mounts {
		if m.FSType != "" && !m.Remount && f.Mounts[i] == nil {
			w.made[i] = w.newFS(m)
			proc = proc || m.FSType == "proc" && m.Set&sys.MountRdonly == 0
		}
	}
	if !proc && len(p.Sysctls) > 0 {
		m := w.newFS(Mount{Destination: "nowhere", FSType: "proc", Source: "proc"})
		w.proc = &m
	}
}
