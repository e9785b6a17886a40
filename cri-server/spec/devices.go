package spec

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func checkDevices(_ PodConfig, c ContainerConfig) error {
	for _, d := range c.Devices {
		if err := checkPath("device: host path", d.HostPath); err != nil {
			return err
		}
		if err := checkPath("device "+d.HostPath+": container path", d.ContainerPath); err != nil {
			return err
		}
		if strings.Trim(d.Permissions, "rwm") != "" {
			return errdefs.Invalid("device %s: permissions %q are not made of r, w and m", d.HostPath, d.Permissions)
		}
	}
	return nil
}

// devices returns the nodes to make and the rules of the device cgroup: nothing but what is listed (the runtime adds the
// standard nodes, which every container has), or everything for a privileged container.
func devices(in Input) ([]specs.LinuxDevice, []specs.LinuxDeviceCgroup) {
	privileged := in.Container.Security.Privileged
	rules := []specs.LinuxDeviceCgroup{{Allow: privileged, Access: "rwm"}}
	nodes := make([]specs.LinuxDevice, 0, len(in.Devices))
	for _, d := range in.Devices {
		mode, uid, gid, major, minor := d.Mode, d.UID, d.GID, d.Major, d.Minor
		nodes = append(nodes, specs.LinuxDevice{
			Path: d.Path, Type: d.Type, Major: d.Major, Minor: d.Minor, FileMode: &mode, UID: &uid, GID: &gid,
		})
		if !privileged {
			access := d.Permissions
			if access == "" {
				access = "rwm"
			}
			rules = append(rules, specs.LinuxDeviceCgroup{
				Allow: true, Type: d.Type, Major: &major, Minor: &minor, Access: access,
			})
		}
	}
	return nodes, rules
}
