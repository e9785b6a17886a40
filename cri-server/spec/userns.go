package spec

import (
	"math"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Users returns the user namespace that a pod and all of its containers are in, nil if that is the host's.
func Users(p PodConfig) *UserNamespace {
	u := p.Security.Namespaces.User
	if u == nil || u.Mode == NamespaceNode {
		return nil
	}
	return u
}

// HostRoot returns whom the host knows a pod's root as.
func HostRoot(p PodConfig) (uid, gid int) {
	u := Users(p)
	if u == nil {
		return 0, 0
	}
	return int(u.UIDs[0].HostID), int(u.GIDs[0].HostID)
}

// checkUsers holds a pod's user namespace to what Kubernetes asks for (KEP-127): one range of IDs, with root in it. The
// host's network, PIDs and IPC belong to its own users, so nobody of a user namespace has any power over them.
func checkUsers(ns Namespaces) error {
	u := ns.User
	switch {
	case u == nil:
		return nil
	case u.Mode == NamespaceNode && len(u.UIDs)+len(u.GIDs) > 0:
		return errdefs.Invalid("user namespace mode NODE with mappings")
	case u.Mode == NamespaceNode:
		return nil
	case u.Mode != NamespacePod:
		return errdefs.Invalid("user namespace mode %d: only POD and NODE exist", u.Mode)
	case ns.Network == NamespaceNode:
		return errdefs.NotSupported("a user namespace together with the host's network")
	case ns.PID == NamespaceNode:
		return errdefs.Invalid("a user namespace together with the host's PID namespace")
	case ns.IPC == NamespaceNode:
		return errdefs.Invalid("a user namespace together with the host's IPC namespace")
	}
	if err := checkRange("user", u.UIDs); err != nil {
		return err
	}
	return checkRange("group", u.GIDs)
}

func checkRange(what string, list []IDMapping) error {
	if len(list) != 1 {
		return errdefs.Invalid("user namespace: %d mappings of %s IDs, exactly one is needed", len(list), what)
	}
	m := list[0]
	switch {
	case m.ContainerID != 0:
		return errdefs.Invalid("user namespace: %s ID 0 of the container is not mapped", what)
	case m.Length == 0 || uint64(m.HostID)+uint64(m.Length) > math.MaxUint32:
		return errdefs.Invalid("user namespace: %d %s IDs from %d on are none, or more than there are", m.Length, what, m.HostID)
	}
	return nil
}

// checkContainerUsers makes sure that a container asks for what its pod has, or for nothing.
func checkContainerUsers(p PodConfig, c ContainerConfig) error {
	own, pod := c.Security.Namespaces.User, Users(p)
	if own == nil {
		return nil
	}
	if own.Mode == NamespaceNode {
		if pod != nil {
			return errdefs.Invalid("the host's user namespace is asked for in a pod that has its own")
		}
		return nil
	}
	if pod == nil || own.Mode != pod.Mode || !slices.Equal(own.UIDs, pod.UIDs) || !slices.Equal(own.GIDs, pod.GIDs) {
		return errdefs.Invalid("another user namespace is asked for than the pod's")
	}
	return nil
}

// checkMountUsers looks at the mappings of a mount. Image volumes have the pod's owners as it is.
func checkMountUsers(p PodConfig, m Mount) error {
	u := Users(p)
	switch {
	case u != nil && m.Propagation == PropagationBidirectional:
		// The kernel cuts this off where it makes the mount namespace itself: a user namespace has no say on the host.
		return errdefs.NotSupported("mount %s: bidirectional propagation out of a pod with a user namespace", m.ContainerPath)
	case len(m.UIDs)+len(m.GIDs) == 0:
		return nil
	case u == nil:
		return errdefs.Invalid("mount %s has mapped IDs in a pod without a user namespace", m.ContainerPath)
	case len(m.UIDs) == 0 || len(m.GIDs) == 0:
		return errdefs.Invalid("mount %s has mapped IDs of users or of groups alone", m.ContainerPath)
	case m.Image != nil && (!slices.Equal(m.UIDs, u.UIDs) || !slices.Equal(m.GIDs, u.GIDs)):
		return errdefs.Invalid("mount %s: an image's mapped IDs must be those of the pod", m.ContainerPath)
	}
	return nil
}

func linuxMappings(list []IDMapping) []specs.LinuxIDMapping {
	var out []specs.LinuxIDMapping
	for _, m := range list {
		out = append(out, specs.LinuxIDMapping{ContainerID: m.ContainerID, HostID: m.HostID, Size: m.Length})
	}
	return out
}

// joinUsers puts a pod's user namespace into a spec.
func joinUsers(l *specs.Linux, p PodConfig, path string) error {
	u := Users(p)
	if u == nil {
		return nil
	}
	if path == "" {
		return errdefs.Bug("no user namespace of pod %s to join", p.Name)
	}
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: path})
	l.UIDMappings, l.GIDMappings = linuxMappings(u.UIDs), linuxMappings(u.GIDs)
	return nil
}
