package spec

import (
	"path"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Pause returns the spec of the process that holds a pod's PID namespace open: the init of a new one, in none of the
// host's namespaces but those that the pod shares, with nothing mounted, nothing granted and nobody's identity.
// Its seccomp profile is the pod's, file what is in [SeccompFile].
func Pause(podID string, p PodConfig, paths Paths, cgroup, program string, file *specs.LinuxSeccomp, h Host) (*specs.Spec, error) {
	list := []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.CgroupNamespace}}
	for _, ns := range []specs.LinuxNamespace{
		{Type: specs.NetworkNamespace, Path: paths.NetNS},
		{Type: specs.UTSNamespace, Path: paths.UTSNS},
		{Type: specs.IPCNamespace, Path: paths.IPCNS},
	} {
		if ns.Path != "" {
			list = append(list, ns)
		}
	}
	user := uint32(65535) // nobody: the uid of the peers' pause images
	if Users(p) != nil {
		user = 0 // which always exists there, and is nobody on the host
	}
	var score *int
	if slices.Contains(h.Capabilities, "CAP_SYS_RESOURCE") { // without it, lowering the score is refused
		low := -998 // as the kubelet protects a pod's own process: with it, all containers would die
		score = &low
	}
	labels := SELinuxLabels(h, podID, p, ContainerConfig{})
	s := &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Args: []string{program}, Cwd: "/", NoNewPrivileges: true, OOMScoreAdj: score,
			User:         specs.User{UID: user, GID: user},
			Capabilities: &specs.LinuxCapabilities{}, SelinuxLabel: labels.Process,
		},
		Root:        &specs.Root{Path: "rootfs", Readonly: true},
		Annotations: map[string]string{"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": podID},
		Linux: &specs.Linux{
			Namespaces: list, CgroupsPath: path.Join("/", cgroup), Seccomp: pauseSeccomp(p.Security.Seccomp, file, h.Profiles),
			MountLabel: labels.Files,
			Resources:  &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
		},
	}
	return s, joinUsers(s.Linux, p, paths.UserNS)
}
