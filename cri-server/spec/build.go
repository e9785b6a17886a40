package spec

import "github.com/opencontainers/runtime-spec/specs-go"

// Build returns the OCI runtime spec of a container. It is [CheckContainer]ed first, so a spec never carries what was not
// looked at. Errors are errdefs.ErrInvalid or errdefs.ErrNotSupported.
func Build(in Input) (*specs.Spec, error) {
	if err := CheckContainer(in.Pod, in.Container); err != nil {
		return nil, err
	}
	if err := CheckHost(in.Host, in.Container); err != nil {
		return nil, err
	}
	proc, err := process(in)
	if err != nil {
		return nil, err
	}
	linux, err := linuxPart(in)
	if err != nil {
		return nil, err
	}
	if linux.Seccomp, err = seccomp(in.Container.Security, in.Seccomp, proc.Capabilities.Bounding, in.Host.Profiles); err != nil {
		return nil, err
	}
	return &specs.Spec{
		Version:     specs.Version,
		Process:     proc,
		Root:        &specs.Root{Path: "rootfs", Readonly: in.Container.Security.ReadonlyRootfs},
		Mounts:      mounts(in),
		Annotations: annotations(in),
		Linux:       linux,
	}, nil
}

func linuxPart(in Input) (*specs.Linux, error) {
	ns, err := namespaces(in)
	if err != nil {
		return nil, err
	}
	resources, err := containerResources(in.Container.Resources, in.Host)
	if err != nil {
		return nil, err
	}
	out := &specs.Linux{
		Namespaces: ns, Resources: resources, CgroupsPath: in.Cgroup, RootfsPropagation: rootPropagation(in.Container),
		MountLabel: SELinuxLabels(in.Host, in.PodID, in.Pod, in.Container).Files,
	}
	if err := joinUsers(out, in.Pod, in.Paths.UserNS); err != nil {
		return nil, err
	}
	out.Devices, out.Resources.Devices = devices(in)
	out.MaskedPaths, out.ReadonlyPaths = masks(in.Pod, in.Container.Security)
	return out, nil
}

// annotations are berth's own. A client's are not passed on: peers' runtimes take orders from some of them
// (run.oci.*, io.katacontainers.*), and who may write a pod's annotations may not thereby order the runtime about.
func annotations(in Input) map[string]string {
	return map[string]string{
		"io.kubernetes.cri.container-type":    "container",
		"io.kubernetes.cri.container-name":    in.Container.Name,
		"io.kubernetes.cri.image-name":        in.Container.Image,
		"io.kubernetes.cri.sandbox-id":        in.PodID,
		"io.kubernetes.cri.sandbox-name":      in.Pod.Name,
		"io.kubernetes.cri.sandbox-namespace": in.Pod.Namespace,
		"io.kubernetes.cri.sandbox-uid":       in.Pod.UID,
	}
}
