package spec

// ContainerConfig is what a client asks of a container: CRI's ContainerConfig without its wire types. It is stored in
// the container's record as JSON.
type ContainerConfig struct {
	Name    string `json:"name"`
	Attempt uint32 `json:"attempt"`

	Image              string            `json:"image"`                          // reference or ID, as asked
	UserSpecifiedImage string            `json:"user_specified_image,omitempty"` // as written in the pod
	ImageAnnotations   map[string]string `json:"image_annotations,omitempty"`

	Command    []string `json:"command,omitempty"` // nil: the image's entrypoint
	Args       []string `json:"args,omitempty"`    // nil: the image's command
	WorkingDir string   `json:"working_dir,omitempty"`
	Env        []EnvVar `json:"env,omitempty"`

	Mounts     []Mount  `json:"mounts,omitempty"`
	Devices    []Device `json:"devices,omitempty"`
	CDIDevices []string `json:"cdi_devices,omitempty"`

	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`

	LogPath   string `json:"log_path,omitempty"` // relative to the pod's LogDirectory
	Stdin     bool   `json:"stdin,omitempty"`
	StdinOnce bool   `json:"stdin_once,omitempty"`
	TTY       bool   `json:"tty,omitempty"`

	StopSignal int32             `json:"stop_signal,omitempty"` // a Linux signal number; 0: the image's, else SIGTERM
	Resources  *Resources        `json:"resources,omitempty"`
	Security   ContainerSecurity `json:"security"`
}

// EnvVar is one environment variable. CRI allows values that are not UTF-8, hence bytes.
type EnvVar struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// Propagation is CRI's MountPropagation, with its numbers.
type Propagation int32

// The propagations of CRI.
const (
	PropagationPrivate         Propagation = 0
	PropagationHostToContainer Propagation = 1
	PropagationBidirectional   Propagation = 2
)

// Mount is one volume of a container: a host path or an image.
type Mount struct {
	ContainerPath     string       `json:"container_path"`
	HostPath          string       `json:"host_path,omitempty"`
	Readonly          bool         `json:"readonly,omitempty"`
	RecursiveReadonly bool         `json:"recursive_readonly,omitempty"`
	SELinuxRelabel    bool         `json:"selinux_relabel,omitempty"`
	Propagation       Propagation  `json:"propagation,omitempty"`
	UIDs              []IDMapping  `json:"uids,omitempty"`
	GIDs              []IDMapping  `json:"gids,omitempty"`
	Image             *ImageVolume `json:"image,omitempty"`
	ImageSubPath      string       `json:"image_sub_path,omitempty"`
	Options           []string     `json:"options,omitempty"` // mount_options of CRI v0.37
}

// ImageVolume names the image that a mount shows.
type ImageVolume struct {
	Image    string `json:"image"`               // reference or ID, as asked
	Resolved string `json:"image_ref,omitempty"` // the ID that was mounted, for the status
}

// Device is a host device given to a container. Permissions is a subset of "rwm".
type Device struct {
	ContainerPath string `json:"container_path"`
	HostPath      string `json:"host_path"`
	Permissions   string `json:"permissions"`
}

// Resources is CRI's LinuxContainerResources. Zero values mean "not said", as on the wire.
type Resources struct {
	CPUPeriod   int64             `json:"cpu_period,omitempty"` // microseconds
	CPUQuota    int64             `json:"cpu_quota,omitempty"`  // microseconds
	CPUShares   int64             `json:"cpu_shares,omitempty"`
	Memory      int64             `json:"memory,omitempty"`      // bytes
	MemorySwap  int64             `json:"memory_swap,omitempty"` // bytes of memory and swap together, as in OCI
	OOMScoreAdj int64             `json:"oom_score_adj,omitempty"`
	CPUSetCPUs  string            `json:"cpuset_cpus,omitempty"`
	CPUSetMems  string            `json:"cpuset_mems,omitempty"`
	Hugepages   []HugepageLimit   `json:"hugepages,omitempty"`
	Unified     map[string]string `json:"unified,omitempty"`
}

// HugepageLimit limits one page size ("2MB", "1GB") to Limit bytes.
type HugepageLimit struct {
	PageSize string `json:"page_size"`
	Limit    uint64 `json:"limit"`
}

// ContainerSecurity is CRI's LinuxContainerSecurityContext.
type ContainerSecurity struct {
	Capabilities       *Capabilities    `json:"capabilities,omitempty"`
	Privileged         bool             `json:"privileged,omitempty"`
	Namespaces         Namespaces       `json:"namespaces"`
	SELinux            *SELinux         `json:"selinux,omitempty"`
	RunAsUser          *int64           `json:"run_as_user,omitempty"`
	RunAsGroup         *int64           `json:"run_as_group,omitempty"`
	RunAsUsername      string           `json:"run_as_username,omitempty"`
	ReadonlyRootfs     bool             `json:"readonly_rootfs,omitempty"`
	SupplementalGroups []int64          `json:"supplemental_groups,omitempty"`
	GroupsPolicy       GroupsPolicy     `json:"groups_policy,omitempty"`
	NoNewPrivs         bool             `json:"no_new_privs,omitempty"`
	MaskedPaths        []string         `json:"masked_paths,omitempty"`
	ReadonlyPaths      []string         `json:"readonly_paths,omitempty"`
	Seccomp            *SecurityProfile `json:"seccomp,omitempty"`
	AppArmor           *SecurityProfile `json:"apparmor,omitempty"`
}

// Capabilities changes the default set. Names come with or without "CAP_", in any case; "ALL" stands for every one.
type Capabilities struct {
	Add     []string `json:"add,omitempty"`
	Drop    []string `json:"drop,omitempty"`
	Ambient []string `json:"ambient,omitempty"`
}
