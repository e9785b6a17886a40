package rpc

import (
	"fmt"
	"path"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/spec"
)

func (d *decoder) containerConfig(c *runtimeapi.ContainerConfig) spec.ContainerConfig {
	if c == nil {
		d.fail("config", "is required")
		return spec.ContainerConfig{}
	}
	if c.GetStdinOnce() && !c.GetStdin() {
		d.fail("config.stdin_once", "needs stdin")
	}
	return spec.ContainerConfig{
		Name:               d.required("config.metadata.name", c.GetMetadata().GetName(), maxName),
		Attempt:            c.GetMetadata().GetAttempt(),
		Image:              d.required("config.image.image", c.GetImage().GetImage(), maxImage),
		UserSpecifiedImage: d.line("config.image.user_specified_image", c.GetImage().GetUserSpecifiedImage(), maxImage),
		ImageAnnotations:   d.pairs("config.image.annotations", c.GetImage().GetAnnotations()),
		Command:            d.texts("config.command", c.GetCommand(), maxString),
		Args:               d.texts("config.args", c.GetArgs(), maxString),
		WorkingDir:         d.text("config.working_dir", c.GetWorkingDir(), maxPath),
		Env:                d.env("config.envs", c.GetEnvs()),
		Mounts:             d.mounts("config.mounts", c.GetMounts()),
		Devices:            d.devices("config.devices", c.GetDevices()),
		CDIDevices:         d.cdiDevices("config.CDI_devices", c.GetCDIDevices()),
		Labels:             d.pairs("config.labels", c.GetLabels()),
		Annotations:        d.pairs("config.annotations", c.GetAnnotations()),
		LogPath:            d.logPath("config.log_path", c.GetLogPath()),
		Stdin:              c.GetStdin(),
		StdinOnce:          c.GetStdinOnce(),
		TTY:                c.GetTty(),
		StopSignal:         d.signal("config.stop_signal", c.GetStopSignal()),
		Resources:          d.resources("config.linux.resources", c.GetLinux().GetResources()),
		Security:           d.containerSecurity("config.linux.security_context", c.GetLinux().GetSecurityContext()),
	}
}

// logPath is relative to the pod's log folder and may not leave it.
func (d *decoder) logPath(field, v string) string {
	d.line(field, v, maxPath)
	if v == "" {
		return ""
	}
	clean := path.Clean("/" + v)
	if clean == "/" || strings.Contains("/"+v+"/", "/../") {
		d.fail(field, "%.128q is not a path below the pod's log_directory", v)
	}
	return clean[1:]
}

func (d *decoder) env(field string, list []*runtimeapi.KeyValue) []spec.EnvVar {
	d.count(field, len(list))
	var env []spec.EnvVar
	for i, kv := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if kv.GetKey() == "" || strings.Contains(kv.GetKey(), "=") {
			d.fail(at+".key", "%.128q is not the name of a variable", kv.GetKey())
		}
		d.text(at+".key", kv.GetKey(), maxString)
		d.text(at+".value", string(kv.GetValue()), maxString-len(kv.GetKey()))
		env = append(env, spec.EnvVar{Key: kv.GetKey(), Value: kv.GetValue()})
	}
	return env
}

func (d *decoder) devices(field string, list []*runtimeapi.Device) []spec.Device {
	d.count(field, len(list))
	var devices []spec.Device
	for i, dev := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if dev.GetHostPath() == "" {
			d.fail(at+".host_path", "is required")
		}
		if strings.Trim(dev.GetPermissions(), "rwm") != "" || len(dev.GetPermissions()) > 3 {
			d.fail(at+".permissions", "%.16q is not made of r, w and m", dev.GetPermissions())
		}
		devices = append(devices, spec.Device{
			ContainerPath: d.absPath(at+".container_path", dev.GetContainerPath()),
			HostPath:      d.absPath(at+".host_path", dev.GetHostPath()),
			Permissions:   dev.GetPermissions(),
		})
	}
	return devices
}

func (d *decoder) cdiDevices(field string, list []*runtimeapi.CDIDevice) []string {
	d.count(field, len(list))
	var names []string
	for i, dev := range list {
		names = append(names, d.required(fmt.Sprintf("%s[%d].name", field, i), dev.GetName(), maxPath))
	}
	return names
}

func (d *decoder) containerSecurity(field string, c *runtimeapi.LinuxContainerSecurityContext) spec.ContainerSecurity {
	if c.GetRunAsUser() != nil && c.GetRunAsUsername() != "" {
		d.fail(field, "run_as_user and run_as_username exclude each other")
	}
	if c.GetRunAsGroup() != nil && c.GetRunAsUser() == nil && c.GetRunAsUsername() == "" {
		d.fail(field+".run_as_group", "needs run_as_user or run_as_username")
	}
	return spec.ContainerSecurity{
		Capabilities:       d.capabilities(field+".capabilities", c.GetCapabilities()),
		Privileged:         c.GetPrivileged(),
		Namespaces:         d.namespaces(field+".namespace_options", c.GetNamespaceOptions()),
		SELinux:            d.selinux(field+".selinux_options", c.GetSelinuxOptions()),
		RunAsUser:          d.optionalUID(field+".run_as_user", c.GetRunAsUser()),
		RunAsGroup:         d.optionalUID(field+".run_as_group", c.GetRunAsGroup()),
		RunAsUsername:      d.line(field+".run_as_username", c.GetRunAsUsername(), maxName),
		ReadonlyRootfs:     c.GetReadonlyRootfs(),
		SupplementalGroups: d.gids(field+".supplemental_groups", c.GetSupplementalGroups()),
		GroupsPolicy: spec.GroupsPolicy(enum(d, field+".supplemental_groups_policy", c.GetSupplementalGroupsPolicy(),
			runtimeapi.SupplementalGroupsPolicy_Strict)),
		NoNewPrivs:    c.GetNoNewPrivs(),
		MaskedPaths:   d.texts(field+".masked_paths", c.GetMaskedPaths(), maxPath),
		ReadonlyPaths: d.texts(field+".readonly_paths", c.GetReadonlyPaths(), maxPath),
		//lint:ignore SA1019 old clients use the deprecated fields
		Seccomp: d.profile(field+".seccomp", c.GetSeccomp(), c.GetSeccompProfilePath()),
		//lint:ignore SA1019 as above
		AppArmor: d.profile(field+".apparmor", c.GetApparmor(), c.GetApparmorProfile()),
	}
}

func (d *decoder) capabilities(field string, c *runtimeapi.Capability) *spec.Capabilities {
	if c == nil {
		return nil
	}
	return &spec.Capabilities{
		Add:     d.lines(field+".add_capabilities", c.GetAddCapabilities(), 64),
		Drop:    d.lines(field+".drop_capabilities", c.GetDropCapabilities(), 64),
		Ambient: d.lines(field+".add_ambient_capabilities", c.GetAddAmbientCapabilities(), 64),
	}
}
