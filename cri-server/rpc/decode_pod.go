package rpc

import (
	"fmt"
	"net/netip"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/spec"
)

// podConfig converts the request for a sandbox. Hostname and security context may be absent, and Windows' fields are
// not looked at.
func (d *decoder) podConfig(c *runtimeapi.PodSandboxConfig, handler string) spec.PodConfig {
	if c == nil {
		d.fail("config", "is required")
		return spec.PodConfig{}
	}
	if c.GetMetadata() == nil {
		d.fail("config.metadata", "is required")
	}
	linux := c.GetLinux()
	return spec.PodConfig{
		Name:         d.required("config.metadata.name", c.GetMetadata().GetName(), maxName),
		Namespace:    d.line("config.metadata.namespace", c.GetMetadata().GetNamespace(), maxName),
		UID:          d.line("config.metadata.uid", c.GetMetadata().GetUid(), maxName),
		Attempt:      c.GetMetadata().GetAttempt(),
		Hostname:     d.hostname("config.hostname", c.GetHostname()),
		LogDirectory: d.absPath("config.log_directory", c.GetLogDirectory()),
		DNS:          d.dns("config.dns_config", c.GetDnsConfig()),
		Ports:        d.ports("config.port_mappings", c.GetPortMappings()),
		Labels:       d.pairs("config.labels", c.GetLabels()),
		Annotations:  d.pairs("config.annotations", c.GetAnnotations()),
		Handler:      d.line("runtime_handler", handler, maxName),
		CgroupParent: d.cgroupParent("config.linux.cgroup_parent", linux.GetCgroupParent()),
		Sysctls:      d.sysctls("config.linux.sysctls", linux.GetSysctls()),
		Security:     d.podSecurity("config.linux.security_context", linux.GetSecurityContext()),
		Overhead:     d.resources("config.linux.overhead", linux.GetOverhead()),
		Resources:    d.resources("config.linux.resources", linux.GetResources()),
	}
}

// hostname holds to what sethostname(2) takes.
func (d *decoder) hostname(field, v string) string { return d.line(field, v, 64) }

// cgroupParent takes a path (cgroupfs) or a slice's name (systemd); which of them fits is decided below.
func (d *decoder) cgroupParent(field, v string) string { return d.line(field, v, maxPath) }

func (d *decoder) sysctls(field string, m map[string]string) map[string]string {
	d.pairs(field, m)
	for k, v := range m {
		d.required(field+" key", k, maxName)
		d.line(fmt.Sprintf("%s[%s]", field, k), v, maxPath)
	}
	return m
}

func (d *decoder) dns(field string, c *runtimeapi.DNSConfig) *spec.DNS {
	if c == nil {
		return nil
	}
	return &spec.DNS{
		Servers:  d.lines(field+".servers", c.GetServers(), maxName),
		Searches: d.lines(field+".searches", c.GetSearches(), maxName),
		Options:  d.lines(field+".options", c.GetOptions(), maxName),
	}
}

func (d *decoder) ports(field string, list []*runtimeapi.PortMapping) []spec.PortMapping {
	d.count(field, len(list))
	var ports []spec.PortMapping
	for i, p := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		ports = append(ports, spec.PortMapping{
			Protocol:      spec.Protocol(enum(d, at+".protocol", p.GetProtocol(), runtimeapi.Protocol_SCTP)),
			ContainerPort: d.port(at+".container_port", p.GetContainerPort()),
			HostPort:      d.port(at+".host_port", p.GetHostPort()),
			HostIP:        d.hostIP(at+".host_ip", p.GetHostIp()),
		})
		if p.GetHostPort() != 0 && p.GetContainerPort() == 0 {
			d.fail(at+".container_port", "is required with a host port")
		}
	}
	return ports
}

func (d *decoder) port(field string, v int32) int32 {
	if v < 0 || v > 65535 {
		d.fail(field, "%d is not a port (0 to 65535)", v)
	}
	return v
}

func (d *decoder) hostIP(field, v string) string {
	if v == "" {
		return ""
	}
	if _, err := netip.ParseAddr(v); err != nil {
		d.fail(field, "%.64q is not an IP address", v)
	}
	return v
}

func (d *decoder) podSecurity(field string, c *runtimeapi.LinuxSandboxSecurityContext) spec.PodSecurity {
	if c.GetRunAsGroup() != nil && c.GetRunAsUser() == nil {
		d.fail(field+".run_as_group", "needs run_as_user")
	}
	return spec.PodSecurity{
		Namespaces:         d.namespaces(field+".namespace_options", c.GetNamespaceOptions()),
		SELinux:            d.selinux(field+".selinux_options", c.GetSelinuxOptions()),
		RunAsUser:          d.optionalUID(field+".run_as_user", c.GetRunAsUser()),
		RunAsGroup:         d.optionalUID(field+".run_as_group", c.GetRunAsGroup()),
		ReadonlyRootfs:     c.GetReadonlyRootfs(),
		SupplementalGroups: d.gids(field+".supplemental_groups", c.GetSupplementalGroups()),
		GroupsPolicy: spec.GroupsPolicy(enum(d, field+".supplemental_groups_policy", c.GetSupplementalGroupsPolicy(),
			runtimeapi.SupplementalGroupsPolicy_Strict)),
		Privileged: c.GetPrivileged(),
		//lint:ignore SA1019 old clients use the deprecated field
		Seccomp:  d.profile(field+".seccomp", c.GetSeccomp(), c.GetSeccompProfilePath()),
		AppArmor: d.profile(field+".apparmor", c.GetApparmor(), ""),
	}
}
