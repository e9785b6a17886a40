package plan

import (
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Namespace is one to join.
type Namespace struct {
	Type specs.LinuxNamespaceType
	Path string // empty: a new one that is made before the fork
}

// Flag returns the CLONE_NEW flag of a kind of namespace, 0 for one that berth does not do.
func Flag(t specs.LinuxNamespaceType) uint64 {
	switch t {
	case specs.PIDNamespace:
		return syscall.CLONE_NEWPID
	case specs.NetworkNamespace:
		return syscall.CLONE_NEWNET
	case specs.MountNamespace:
		return syscall.CLONE_NEWNS
	case specs.IPCNamespace:
		return syscall.CLONE_NEWIPC
	case specs.UTSNamespace:
		return syscall.CLONE_NEWUTS
	case specs.CgroupNamespace:
		return sys.CloneNewcgroup
	case specs.UserNamespace:
		return sys.CloneNewuser
	case specs.TimeNamespace:
		return sys.CloneNewtime
	}
	return 0
}

// NamespaceTypes lists the kinds that berth does.
func NamespaceTypes() []specs.LinuxNamespaceType {
	all := []specs.LinuxNamespaceType{
		specs.CgroupNamespace, specs.IPCNamespace, specs.MountNamespace, specs.NetworkNamespace, specs.PIDNamespace,
		specs.TimeNamespace, specs.UTSNamespace, specs.UserNamespace,
	}
	return slices.DeleteFunc(all, func(t specs.LinuxNamespaceType) bool { return Flag(t) == 0 })
}

func (p *Plan) namespaces(spec *specs.Spec, facts Facts) error {
	var seen uint64
	for _, ns := range spec.Linux.Namespaces {
		flag := Flag(ns.Type)
		switch {
		case flag == 0:
			return errdefs.NotSupported("linux.namespaces: type %q is not supported by berth", ns.Type)
		case seen&flag != 0:
			return errdefs.Invalid("linux.namespaces: type %q twice", ns.Type)
		case ns.Path != "" && !strings.HasPrefix(ns.Path, "/"), strings.ContainsRune(ns.Path, 0):
			return errdefs.Invalid("linux.namespaces: path %q of type %q is not absolute", ns.Path, ns.Type)
		case ns.Type == specs.UserNamespace:
			p.User = &User{Path: ns.Path}
		case ns.Path == "":
			p.make(ns.Type, flag)
		default:
			p.Join = append(p.Join, Namespace{ns.Type, ns.Path})
		}
		seen |= flag
	}
	if seen&syscall.CLONE_NEWNS == 0 {
		if err := p.inheritMounts(facts); err != nil {
			return err
		}
	}
	for _, n := range [...]struct{ field, name string }{{"hostname", p.Hostname}, {"domainname", p.Domainname}} {
		if err := checkName(n.field, n.name, seen&syscall.CLONE_NEWUTS != 0); err != nil {
			return err
		}
	}
	p.belong()
	if err := p.user(spec); err != nil {
		return err
	}
	return p.timeOffsets(spec)
}

// belong sorts who makes the namespaces. Those that shall belong to a user namespace are made when it has been joined;
// until then the process needs only a place for mounts of its own. A time namespace gets its offsets before anything is
// in it.
func (p *Plan) belong() {
	if p.User != nil {
		p.Inner, p.Flags = p.Flags, syscall.CLONE_NEWNS
		return
	}
	if p.Flags&sys.CloneNewtime == 0 {
		return
	}
	p.Inner, p.Flags = p.Flags, 0
}

// LauncherJoinsPID tells who joins a PID namespace, which only takes in a process's children: the launcher, unless the
// program makes a second process anyway.
func (p *Plan) LauncherJoinsPID() bool { return p.Inner&sys.CloneNewtime == 0 }

func (p *Plan) make(t specs.LinuxNamespaceType, flag uint64) {
	// clone3 would root a new cgroup namespace where the forking process is, not in the container's group.
	if t == specs.CgroupNamespace {
		p.UnshareCgroup = true
		return
	}
	p.Flags |= flag
}

// has tells whether the container is in a namespace other than the forking process's; joined ones may still be that
// very one, which runtime/prepare checks.
func (p *Plan) has(t specs.LinuxNamespaceType) bool {
	if t == specs.UserNamespace {
		return p.User != nil // a joined one can't be the forking process's own: setns(2) refuses that
	}
	return (p.Flags|p.Inner)&Flag(t) != 0 || p.joins(t)
}

func (p *Plan) joins(t specs.LinuxNamespaceType) bool {
	for _, j := range p.Join {
		if j.Type == t {
			return true
		}
	}
	return false
}
