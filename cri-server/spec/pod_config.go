package spec

// PodConfig is what a client asks of a pod sandbox: CRI's PodSandboxConfig without its wire types. It is stored in the
// pod's record as JSON. A nil pointer or map means that the client did not say.
type PodConfig struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	UID       string `json:"uid"`
	Attempt   uint32 `json:"attempt"`

	Hostname     string            `json:"hostname,omitempty"`
	LogDirectory string            `json:"log_directory,omitempty"`
	DNS          *DNS              `json:"dns,omitempty"`
	Ports        []PortMapping     `json:"ports,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Handler      string            `json:"handler,omitempty"` // runtime handler

	CgroupParent string            `json:"cgroup_parent,omitempty"`
	Sysctls      map[string]string `json:"sysctls,omitempty"`
	Security     PodSecurity       `json:"security"`
	Overhead     *Resources        `json:"overhead,omitempty"`
	Resources    *Resources        `json:"resources,omitempty"`
}

// PodSecurity is CRI's LinuxSandboxSecurityContext.
type PodSecurity struct {
	Namespaces         Namespaces       `json:"namespaces"`
	SELinux            *SELinux         `json:"selinux,omitempty"`
	RunAsUser          *int64           `json:"run_as_user,omitempty"`
	RunAsGroup         *int64           `json:"run_as_group,omitempty"`
	ReadonlyRootfs     bool             `json:"readonly_rootfs,omitempty"`
	SupplementalGroups []int64          `json:"supplemental_groups,omitempty"`
	GroupsPolicy       GroupsPolicy     `json:"groups_policy,omitempty"`
	Privileged         bool             `json:"privileged,omitempty"`
	Seccomp            *SecurityProfile `json:"seccomp,omitempty"`
	AppArmor           *SecurityProfile `json:"apparmor,omitempty"`
}

// DNS is the content of resolv.conf. A nil *DNS means the host's.
type DNS struct {
	Servers  []string `json:"servers,omitempty"`
	Searches []string `json:"searches,omitempty"`
	Options  []string `json:"options,omitempty"`
}

// Protocol is a transport protocol of a published port, with the numbers of CRI.
type Protocol int32

// The protocols of CRI.
const (
	TCP  Protocol = 0
	UDP  Protocol = 1
	SCTP Protocol = 2
)

// PortMapping publishes a port. HostPort 0 publishes nothing.
type PortMapping struct {
	Protocol      Protocol `json:"protocol"`
	ContainerPort int32    `json:"container_port"`
	HostPort      int32    `json:"host_port"`
	HostIP        string   `json:"host_ip,omitempty"`
}

// NamespaceMode is CRI's NamespaceMode, with its numbers.
type NamespaceMode int32

// The modes of CRI.
const (
	NamespacePod       NamespaceMode = 0
	NamespaceContainer NamespaceMode = 1
	NamespaceNode      NamespaceMode = 2
	NamespaceTarget    NamespaceMode = 3
)

// Namespaces is CRI's NamespaceOption. Its zero value is CRI's too: everything shared by the pod.
type Namespaces struct {
	Network  NamespaceMode  `json:"network"`
	PID      NamespaceMode  `json:"pid"`
	IPC      NamespaceMode  `json:"ipc"`
	TargetID string         `json:"target_id,omitempty"`
	User     *UserNamespace `json:"user,omitempty"`
}

// UserNamespace asks for a user namespace (NamespacePod) or for the host's (NamespaceNode).
type UserNamespace struct {
	Mode NamespaceMode `json:"mode"`
	UIDs []IDMapping   `json:"uids,omitempty"`
	GIDs []IDMapping   `json:"gids,omitempty"`
}

// IDMapping maps Length ids from ContainerID to HostID.
type IDMapping struct {
	HostID      uint32 `json:"host_id"`
	ContainerID uint32 `json:"container_id"`
	Length      uint32 `json:"length"`
}

// SELinux is CRI's SELinuxOption.
type SELinux struct {
	User  string `json:"user,omitempty"`
	Role  string `json:"role,omitempty"`
	Type  string `json:"type,omitempty"`
	Level string `json:"level,omitempty"`
}

// ProfileType says where a security profile comes from, with CRI's numbers.
type ProfileType int32

// The profile types of CRI.
const (
	ProfileRuntimeDefault ProfileType = 0
	ProfileUnconfined     ProfileType = 1
	ProfileLocalhost      ProfileType = 2
)

// SecurityProfile is CRI's SecurityProfile. A nil one means unconfined.
type SecurityProfile struct {
	Type ProfileType `json:"type"`
	Ref  string      `json:"ref,omitempty"`
}

// GroupsPolicy is CRI's SupplementalGroupsPolicy, with its numbers.
type GroupsPolicy int32

// The policies of CRI.
const (
	GroupsMerge  GroupsPolicy = 0
	GroupsStrict GroupsPolicy = 1
)
