package spec

import (
	"io/fs"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Input is everything that a container's OCI spec depends on. Its parts but Host are stored in the container's record,
// so a spec can be made again after a restart.
type Input struct {
	ID        string // the container's
	PodID     string
	Pod       PodConfig
	Container ContainerConfig
	Image     Image
	User      User
	Paths     Paths

	Cgroup string // the container's own

	Devices []DeviceNode // what Container.Devices stand for on this machine; for a privileged one all of the host's
	Volumes []Volume
	Seccomp *specs.LinuxSeccomp // what is in [SeccompFile]
	Host    Host
}

// Image is what an image's configuration says about running it.
type Image struct {
	Entrypoint []string            `json:"entrypoint,omitempty"`
	Cmd        []string            `json:"cmd,omitempty"`
	Env        []string            `json:"env,omitempty"`
	WorkingDir string              `json:"working_dir,omitempty"`
	User       string              `json:"user,omitempty"`
	StopSignal string              `json:"stop_signal,omitempty"`
	Volumes    map[string]struct{} `json:"volumes,omitempty"`
}

// User is the identity that [QueryUser]'s answer was found to stand for in the image.
type User struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"` // those of the image's /etc/group that the user is in
	Home   string   `json:"home,omitempty"`
}

// Paths are host paths made for the pod. An empty one is not mounted or joined.
type Paths struct {
	NetNS    string // pin of the pod's network namespace; empty: the host's
	IPCNS    string
	UTSNS    string
	UserNS   string
	PIDNS    string // of the pod's pause process or of the target container
	Shm      string
	Hosts    string
	Hostname string
	Resolv   string
}

// DeviceNode is a device of the host, and the path it has in the container.
type DeviceNode struct {
	Path         string // in the container
	Type         string // "c" or "b"
	Major, Minor int64
	Mode         fs.FileMode // permission bits
	UID, GID     uint32
	Permissions  string // subset of "rwm"
}

// Volume is an anonymous volume: a host folder for a VOLUME of the image.
type Volume struct {
	Path   string `json:"path"`   // in the container
	Source string `json:"source"` // on the host
}

// Host is what this machine offers.
type Host struct {
	Hostname      string
	Profiles      *Profiles // keeps RuntimeDefault's; nil: each is made anew
	Capabilities  []string  // those that containers can be given, "CAP_…"
	NoFile        uint64    // hard limit of open files that can be given; 0: not known
	HugepageSizes []string  // "2MB", "1GB"; a limit for another size is refused unless it is zero
	SELinux       bool      // files have labels here
	AppArmor      AppArmor
}
