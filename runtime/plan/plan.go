package plan

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/lsm"
	"github.com/berth-runtime/berth/runtime/netdev"
	"github.com/berth-runtime/berth/runtime/resctrl"
	"github.com/berth-runtime/berth/runtime/seccomp"
)

// Facts are what a plan depends on besides the spec.
type Facts struct {
	LastCap     int               // highest capability that the kernel knows
	Caps        uint64            // capabilities that the forking process has, a bit each
	HardLimits  map[string]uint64 // its hard limits, by "RLIMIT_…"
	OOMScoreAdj int               // its own: without CAP_SYS_RESOURCE no lower one can be set
	Hierarchies []Hierarchy       // cgroup mounts, for a mount of type "cgroup"
	CgroupV2    bool              // they are one cgroup2 mount
	Hooks       bool              // the launcher runs hooks
	HostMounts  bool              // it starts containers without a mount namespace of their own
	Target      Target            // of an exec: the container that is joined
	Inherited   Inherited         // of an exec: what that hands on to it
	LSM         lsm.Modules       // what confines here
	Seccomp     *seccomp.Filter   // what Spec.Linux.Seccomp was compiled to; for exec the container's
	Prepared    []string          // destinations whose mounts are given to Files instead of being made
}

// Hierarchy is one cgroup mount of the host.
type Hierarchy struct {
	Mount   string // where the host has it: its base name is used in the container as well
	V2      bool
	Options string // what a new mount of it takes: "cpu,cpuacct", "none,name=systemd"
}

// Plan is all that happens to a container's first process.
type Plan struct {
	Flags         uint64      // namespaces to make, CLONE_NEW*, for the launcher
	Join          []Namespace // namespaces to join
	UnshareCgroup bool        // make a cgroup namespace after joining the group, which becomes its root
	User          *User       `json:",omitempty"`
	Inner         uint64      `json:",omitempty"` // namespaces that belong to the user namespace, CLONE_NEW*, and a time namespace
	TimeOffsets   string      `json:",omitempty"` // of a new time namespace
	OwnCgroup     bool        `json:",omitempty"` // the process's user gets the control group
	HostMounts    bool        `json:",omitempty"` // the process ends up in the launcher's mount namespace

	MountLabel string `json:",omitempty"` // SELinux context of the file systems that the child makes
	Hostname   string `json:",omitempty"`
	Domainname string `json:",omitempty"`

	IntelRdt   *resctrl.Config `json:",omitempty"`
	NetDevices []netdev.Device `json:",omitempty"` // of the host, moved into the network namespace before the fork

	Mounts          []Mount
	Devices         []Device
	Links           []Link
	Sysctls         []Sysctl `json:",omitempty"`
	ReadonlyPaths   []string `json:",omitempty"`
	MaskedPaths     []string `json:",omitempty"`
	RootReadonly    bool     `json:",omitempty"`
	RootPropagation uint64   `json:",omitempty"` // MS_ flag, 0: private

	Process  Process
	Launch   Launch   `json:"-"` // the launcher sets it
	Warnings []string `json:",omitempty"`
}

// New turns a spec into a plan. Errors are of kind ErrInvalid or ErrNotSupported and name the field.
func New(spec *specs.Spec, facts Facts) (*Plan, error) {
	if err := refuse(spec); err != nil {
		return nil, err
	}
	if err := checkSizes(spec); err != nil {
		return nil, err
	}
	p := &Plan{Hostname: spec.Hostname, Domainname: spec.Domainname}
	for _, part := range []func(*specs.Spec, Facts) error{
		p.label, p.namespaces, p.netDevices, p.intelRdt, p.mounts, p.devices, p.paths, p.sysctls, p.process, p.hooks,
	} {
		if err := part(spec, facts); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Plan) process(spec *specs.Spec, facts Facts) error {
	if (spec.Linux.Seccomp != nil) != (facts.Seccomp != nil) {
		return errdefs.Bug("linux.seccomp was not compiled before the plan")
	}
	proc, warnings, err := newProcess(spec.Process, facts, p.User != nil)
	if err != nil {
		return err
	}
	if err := proc.container(spec.Linux); err != nil {
		return err
	}
	p.Process, p.Warnings = proc, append(p.Warnings, warnings...)
	if facts.Seccomp != nil {
		p.Warnings = append(p.Warnings, facts.Seccomp.Warnings...)
	}
	if proc.Terminal && p.devpts() < 0 {
		return errdefs.Invalid("process.terminal: needs a mount of type devpts on /dev/pts")
	}
	return nil
}

// devpts returns the index of the mount on /dev/pts, or -1.
func (p *Plan) devpts() int {
	for i, m := range p.Mounts {
		if m.FSType == "devpts" && m.Destination == "/dev/pts" {
			return i
		}
	}
	return -1
}

// Devpts returns the mount that a container with a terminal gets from Files.Devpts, and whether there is one.
func (p *Plan) Devpts() (Mount, bool) {
	i := p.devpts()
	if i < 0 || !p.Process.Terminal {
		return Mount{}, false
	}
	return p.Mounts[i], true
}
