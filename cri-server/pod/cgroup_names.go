package pod

import (
	"path"
	"strings"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/systemd"
)

// cgroupNames says where the groups of pods and containers are. With the systemd driver a pod's is a slice and a
// container's a scope, else both are plain folders.
type cgroupNames struct {
	root    string // of the pods that name no parent: a path
	systemd bool
}

// newCgroupNames takes a path, or with systemd the name of a slice.
func newCgroupNames(root string, useSystemd bool) (cgroupNames, error) {
	n := cgroupNames{root: root, systemd: useSystemd}
	if useSystemd {
		var err error
		if n.root, err = systemd.ExpandSlice(root); err != nil {
			return n, err
		}
	}
	return n, nil
}

// pod returns the group that a pod's containers live under, and whether it is the pod's own.
func (n cgroupNames) pod(id, parent string) (group string, own bool, err error) {
	switch {
	case parent == "":
		return n.ownPod(id), true, nil
	case !n.systemd:
		group, err = spec.CgroupParent(parent, "")
		return group, false, err
	}
	name := path.Base(parent)
	group, err = systemd.ExpandSlice(name)
	if err != nil {
		return "", false, errdefs.NotSupported("cgroup parent %q is no systemd slice, but berth's cgroup driver is systemd: "+
			"set cgroupDriver: systemd in the kubelet's configuration", parent)
	}
	if strings.Contains(parent, "/") && path.Join("/", parent) != group {
		return "", false, errdefs.Invalid("cgroup parent %q: the slice %s is at %s", parent, name, group)
	}
	return group, false, nil
}

// ownPod is the group of a pod that names no parent.
func (n cgroupNames) ownPod(id string) string {
	if !n.systemd {
		return path.Join(n.root, id)
	}
	return path.Join(n.root, strings.TrimSuffix(path.Base(n.root), ".slice")+"-"+id+".slice")
}

// podOf returns the ID of the pod whose group has this name below the root.
func (n cgroupNames) podOf(name string) string {
	if !n.systemd {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(name, strings.TrimSuffix(path.Base(n.root), ".slice")+"-"), ".slice")
}

// container returns the group of a container, or of what else has an ID, below its pod's.
func (n cgroupNames) container(pod, id string) string {
	if !n.systemd {
		return path.Join(pod, id)
	}
	return path.Join(pod, "berth-"+id+".scope")
}
