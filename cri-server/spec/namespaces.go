package spec

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// ContainerNamespaces returns the modes that a container really gets. On the wire "the pod's" is the zero value, so it may
// mean "not said": where the pod is in the host's namespace, so are its containers. Only network and IPC are the pod's to
// decide alone; a PID namespace may be per container.
func ContainerNamespaces(p PodConfig, c ContainerConfig) Namespaces {
	ns, pod := c.Security.Namespaces, p.Security.Namespaces
	inherit := func(own *NamespaceMode, pods NamespaceMode) {
		if *own == NamespacePod && pods == NamespaceNode {
			*own = NamespaceNode
		}
	}
	inherit(&ns.Network, pod.Network)
	inherit(&ns.IPC, pod.IPC)
	inherit(&ns.PID, pod.PID)
	return ns
}

func checkNamespaces(p PodConfig, c ContainerConfig) error {
	ns, pod := ContainerNamespaces(p, c), p.Security.Namespaces
	if err := checkContainerUsers(p, c); err != nil {
		return err
	}
	if ns.Network != pod.Network {
		return errdefs.Invalid("network namespace mode %d is asked for in a pod of mode %d", ns.Network, pod.Network)
	}
	if ns.IPC < NamespacePod || ns.IPC > NamespaceNode || ns.IPC == NamespaceNode && pod.IPC != NamespaceNode {
		return errdefs.Invalid("IPC namespace mode %d is asked for in a pod of mode %d", ns.IPC, pod.IPC)
	}
	if ns.PID < NamespacePod || ns.PID > NamespaceTarget {
		return errdefs.Invalid("unknown PID namespace mode %d", ns.PID)
	}
	if ns.PID == NamespaceTarget && ns.TargetID == "" {
		return errdefs.Invalid("PID namespace mode TARGET without a target container")
	}
	return nil
}

// namespaces says, for each kind, whether the container makes one, joins one by path, or stays in the host's (then it is
// not in the list).
func namespaces(in Input) ([]specs.LinuxNamespace, error) {
	mode := ContainerNamespaces(in.Pod, in.Container)
	list := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	if !in.Container.Security.Privileged {
		// A privileged container manages the host's cgroups, and so needs to see them by their names.
		list = append(list, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	join := func(kind specs.LinuxNamespaceType, path string) error {
		if path == "" {
			return errdefs.Bug("no %s namespace of pod %s to join", kind, in.PodID)
		}
		list = append(list, specs.LinuxNamespace{Type: kind, Path: path})
		return nil
	}
	if mode.Network != NamespaceNode {
		if err := join(specs.NetworkNamespace, in.Paths.NetNS); err != nil {
			return nil, err
		}
		if err := join(specs.UTSNamespace, in.Paths.UTSNS); err != nil {
			return nil, err
		}
	}
	switch mode.IPC {
	case NamespacePod:
		if err := join(specs.IPCNamespace, in.Paths.IPCNS); err != nil {
			return nil, err
		}
	case NamespaceContainer:
		list = append(list, specs.LinuxNamespace{Type: specs.IPCNamespace})
	}
	switch mode.PID {
	case NamespacePod, NamespaceTarget:
		if err := join(specs.PIDNamespace, in.Paths.PIDNS); err != nil {
			return nil, err
		}
	case NamespaceContainer:
		list = append(list, specs.LinuxNamespace{Type: specs.PIDNamespace})
	}
	return list, nil
}
