package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Mount is one mount in a container. With an FSType it is made in the child, whose namespaces decide what proc, sysfs,
// mqueue and cgroup show; without, it is a detached mount that Files brings: a bind mount of Source, or one that was
// Prepared elsewhere.
type Mount struct {
	Destination string // absolute and clean
	FSType      string `json:",omitempty"`
	Source      string `json:",omitempty"`
	Prepared    bool   `json:",omitempty"`
	Node        *Node  `json:",omitempty"` // a device to make in the child instead

	Params []Param `json:",omitempty"` // options of the file system, in order

	Set, Clear                   uint64 `json:",omitempty"` // MOUNT_ATTR_ flags of the mount itself
	RecursiveSet, RecursiveClear uint64 `json:",omitempty"` // and of those below it too
	Recursive                    bool   `json:",omitempty"` // the source's own submounts come along
	Propagation                  uint64 `json:",omitempty"` // MS_ flag; 0 only for what is made in the child: private

	IDMap   *IDMap `json:",omitempty"` // of a bind mount
	CopyUp  bool   `json:",omitempty"` // a tmpfs that begins with what the image has there, made before the fork
	Remount bool   `json:",omitempty"` // of what is mounted there: attributes and, with an FSType, options of the file system

	LateReadonly bool `json:",omitempty"` // becomes read-only last: mount points and devices are still made in it
}

// Param is an option of a file system. Without a value it is a flag.
type Param struct {
	Key   string
	Value *string `json:",omitempty"`
}

func (p Param) String() string {
	if p.Value == nil {
		return p.Key
	}
	return p.Key + "=" + *p.Value
}

func (p *Plan) mounts(spec *specs.Spec, facts Facts) error {
	if spec.Root != nil {
		p.RootReadonly = spec.Root.Readonly
	}
	p.RootPropagation = propagation(spec.Linux.RootfsPropagation)
	for i, m := range spec.Mounts {
		list, err := p.newMounts(m, facts, spec.Linux.CgroupsPath)
		if err != nil {
			return fmt.Errorf("mounts[%d] on %s: %w", i, m.Destination, err)
		}
		for i := range list {
			list[i].setContext(p.MountLabel)
		}
		p.Mounts = append(p.Mounts, list...)
		p.cgroupLinks(list)
		p.OwnCgroup = p.OwnCgroup || facts.CgroupV2 && p.User != nil && p.UnshareCgroup && list[0].writableCgroup()
	}
	return p.checkCopied()
}

// cgroupLinks gives v1 controllers that share a hierarchy the names by which programs look for them: cpu is a link to
// cpu,cpuacct.
func (p *Plan) cgroupLinks(mounts []Mount) {
	if len(mounts) < 2 {
		return
	}
	for _, m := range mounts[1:] {
		dir, base := path.Split(m.Destination)
		names := strings.Split(base, ",")
		if len(names) < 2 {
			continue
		}
		for _, name := range names {
			p.Links = append(p.Links, Link{dir + name, base})
		}
	}
}

// newMounts returns the mount, or mounts, that an entry of the spec stands for.
func (p *Plan) newMounts(m specs.Mount, facts Facts, cgroup string) ([]Mount, error) {
	switch {
	case !strings.HasPrefix(m.Destination, "/") || strings.ContainsRune(m.Destination, 0):
		return nil, errdefs.Invalid("destination %q is not an absolute path", m.Destination)
	case path.Clean(m.Destination) == "/":
		return nil, errdefs.Invalid("destination is the root itself")
	case strings.ContainsRune(m.Type, 0) || strings.ContainsRune(m.Source, 0):
		return nil, errdefs.Invalid("type %q or source %q has a NUL in it", m.Type, m.Source)
	}
	o, err := parseOptions(m.Options)
	if err != nil {
		return nil, err
	}
	out := Mount{
		Destination:  path.Clean(m.Destination),
		Source:       m.Source,
		Prepared:     slices.Contains(facts.Prepared, m.Destination),
		Params:       o.params,
		Set:          o.attr.set,
		Clear:        o.attr.clear,
		RecursiveSet: o.recursive.set, RecursiveClear: o.recursive.clear,
		Recursive:   o.rbind,
		Propagation: o.propagation,
	}
	bind := out.Prepared || o.bind || m.Type == "bind"
	p.superblock(m, o, bind)
	if bind {
		out.Params = flagsOf(o.params)
	} else {
		for _, name := range o.superblock {
			out.Params = append(out.Params, Param{Key: name})
		}
	}
	if out.IDMap, err = p.idmap(m, o, bind && !out.Prepared); err != nil {
		return nil, err
	}
	switch {
	case o.remount:
		return one(out.asRemount(m, o, bind))
	case o.copyUp && (bind || m.Type != "tmpfs"):
		return nil, errdefs.Invalid("option %q is for mounts of type tmpfs", "tmpcopyup")
	case bind:
		return one(out.asBind())
	case m.Type == "cgroup" || m.Type == "cgroup2":
		return out.asCgroups(facts, cgroup, p.UnshareCgroup)
	}
	out.CopyUp = o.copyUp
	return one(out.asFS(m.Type))
}

func one(m Mount, err error) ([]Mount, error) { return []Mount{m}, err }

func (m Mount) asBind() (Mount, error) {
	switch {
	case len(m.Params) > 0:
		return m, errdefs.Invalid("option %q is unknown for a bind mount", m.Params[0])
	case !m.Prepared && !strings.HasPrefix(m.Source, "/"):
		return m, errdefs.Invalid("source %q of a bind mount is not an absolute path", m.Source)
	}
	if m.Propagation == 0 {
		// Without this, what the container mounts below it would show up on the host: a copy of a mount is a peer of it.
		m.Propagation = propagation("private")
	}
	return m, nil
}

func (m Mount) asFS(fstype string) (Mount, error) {
	switch {
	case fstype == "" || fstype == "none":
		return m, errdefs.Invalid("type is missing, and there is no option bind or rbind")
	case m.RecursiveSet|m.RecursiveClear != 0:
		return m, errdefs.Invalid("recursive options are for bind mounts")
	}
	m.FSType = fstype
	if m.Source == "" {
		m.Source = fstype
	}
	m.Clear = 0 // a new mount has no attribute that could be cleared
	if fstype == "tmpfs" && m.Set&sys.MountRdonly != 0 {
		m.LateReadonly = true
		m.Set &^= sys.MountRdonly
	}
	return m, nil
}

// asCgroups shows the container's own part of the host's hierarchies: by new mounts where it has a cgroup namespace, and
// otherwise, on v1, by bind mounts of its groups. cgroup2 without a namespace is shown whole, as others do.
func (m Mount) asCgroups(facts Facts, cgroup string, ownNS bool) ([]Mount, error) {
	m.Params = nil // of v1, such as a list of controllers: the host has decided
	if facts.CgroupV2 {
		return one(m.asFS("cgroup2"))
	}
	mode := "755"
	top := m
	top.Params = []Param{{"mode", &mode}}
	top, err := top.asFS("tmpfs")
	if err != nil {
		return nil, err
	}
	list := []Mount{top}
	for _, h := range facts.Hierarchies {
		sub := m
		sub.Destination = path.Join(m.Destination, path.Base(h.Mount))
		if !ownNS {
			sub.Source = path.Join(h.Mount, cgroup)
			sub, err = sub.asBind()
		} else {
			sub, err = sub.asHierarchy(h)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, sub)
	}
	return list, nil
}

func (m Mount) writableCgroup() bool { return m.FSType == "cgroup2" && m.Set&sys.MountRdonly == 0 }

func (m Mount) asHierarchy(h Hierarchy) (Mount, error) {
	if h.V2 {
		return m.asFS("cgroup2")
	}
	o, err := parseOptions(strings.Split(h.Options, ","))
	if err != nil {
		return m, err
	}
	m.Params = o.params
	return m.asFS("cgroup")
}
