package pod

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Config is what a Manager needs. All fields without a default must be set.
type Config struct {
	State      string   // folder on a tmpfs; pods, containers, bad and boot_id in it are the manager's own
	Volumes    string   // folder for what containers write besides their layers, on a disk
	Systemd    bool     // the cgroup driver: Cgroups and Runtime have systemd make groups; CgroupRoot is the name of a slice
	CgroupRoot string   // parent of the pods that name none; "": "/berth". Daemons that share a host need different ones
	Handlers   []string // runtime handlers besides the empty one

	Images     Images
	Network    Network
	Runtime    Runtime
	Cgroups    Cgroups
	Namespaces Namespaces
	Machine    Machine
	Logger     *slog.Logger

	Limit    time.Duration // after which an operation that hangs is given up; 0: 4 minutes
	ShmSize  int64         // bytes of /dev/shm that a pod's containers share; 0: 64 MiB
	Collect  time.Duration // between two collections of what the network has for no pod; 0: 10 minutes
	LayerAge time.Duration // how old the measure of a writable layer may be; 0: 10 s
}

func (c *Config) check() error {
	if !filepath.IsAbs(c.State) || !filepath.IsAbs(c.Volumes) {
		return errdefs.Invalid("open pods: state folder %q and volumes folder %q must be absolute paths", c.State, c.Volumes)
	}
	parts := []any{c.Images, c.Network, c.Runtime, c.Cgroups, c.Namespaces, c.Machine, c.Logger}
	for i, p := range parts {
		if p == nil {
			return errdefs.Bug("part %d of the pod manager is missing", i)
		}
	}
	if c.CgroupRoot == "" && c.Systemd {
		c.CgroupRoot = "berth.slice"
	}
	if c.CgroupRoot == "" {
		c.CgroupRoot = "/berth"
	}
	if c.Limit == 0 {
		c.Limit = 4 * time.Minute
	}
	if c.ShmSize == 0 {
		c.ShmSize = 64 << 20
	}
	if c.Collect == 0 {
		c.Collect = 10 * time.Minute
	}
	if c.LayerAge == 0 {
		c.LayerAge = 10 * time.Second
	}
	return nil
}
