package network

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// portArg is one entry of the portMappings capability (CNI conventions).
type portArg struct {
	HostPort      int32  `json:"hostPort"`
	ContainerPort int32  `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP,omitempty"`
}

// dnsArg is the dns capability.
type dnsArg struct {
	Servers  []string `json:"servers,omitempty"`
	Searches []string `json:"searches,omitempty"`
	Options  []string `json:"options,omitempty"`
}

// runtimeConf turns an attachment into libcni's terms.
func runtimeConf(a Attachment) (*libcni.RuntimeConf, error) {
	if a.PodID == "" {
		return nil, errdefs.Invalid("attach pod: it has no id")
	}
	capabilities, err := capabilityArgs(a)
	if err != nil {
		return nil, fmt.Errorf("attach pod %s: %w", a.PodID, err)
	}
	args := [][2]string{
		{"IgnoreUnknown", "1"},
		{"K8S_POD_NAMESPACE", a.Namespace},
		{"K8S_POD_NAME", a.Name},
		{"K8S_POD_INFRA_CONTAINER_ID", a.PodID},
		{"K8S_POD_UID", a.UID},
	}
	for _, kv := range args {
		if strings.ContainsAny(kv[1], ";=\x00") { // would become another argument
			return nil, errdefs.Invalid("attach pod %s: %s=%q holds a character that CNI_ARGS can't carry", a.PodID, kv[0], kv[1])
		}
	}
	return &libcni.RuntimeConf{ContainerID: a.PodID, NetNS: a.Netns, IfName: IfName, Args: args, CapabilityArgs: capabilities}, nil
}

func capabilityArgs(a Attachment) (map[string]any, error) {
	capabilities := map[string]any{}
	ports, err := portArgs(a.Ports)
	if err != nil {
		return nil, err
	}
	if len(ports) > 0 {
		capabilities["portMappings"] = ports
	}
	limit, err := parseBandwidth(a.Annotations)
	if err != nil {
		return nil, err
	}
	if limit != nil {
		capabilities["bandwidth"] = limit
	}
	if d := a.DNS; d != nil && len(d.Servers)+len(d.Searches)+len(d.Options) > 0 {
		capabilities["dns"] = dnsArg{Servers: d.Servers, Searches: d.Searches, Options: d.Options}
	}
	if a.CgroupParent != "" {
		capabilities["cgroupPath"] = a.CgroupParent
	}
	return capabilities, nil
}

func portArgs(ports []PortMapping) ([]portArg, error) {
	var args []portArg
	for _, p := range ports {
		if p.HostPort == 0 {
			continue
		}
		protocol := strings.ToLower(p.Protocol)
		switch protocol {
		case "":
			protocol = "tcp"
		case "tcp", "udp", "sctp":
		default:
			return nil, errdefs.Invalid("publish port %d: protocol %q is none of tcp, udp and sctp", p.HostPort, p.Protocol)
		}
		if p.HostPort < 0 || p.HostPort > 65535 || p.ContainerPort < 1 || p.ContainerPort > 65535 {
			return nil, errdefs.Invalid("publish port %d for %d/%s: ports go from 1 to 65535", p.HostPort, p.ContainerPort, protocol)
		}
		if p.HostIP != "" {
			if _, err := netip.ParseAddr(p.HostIP); err != nil {
				return nil, errdefs.Invalid("publish port %d: host IP: %w", p.HostPort, err)
			}
		}
		args = append(args, portArg{HostPort: p.HostPort, ContainerPort: p.ContainerPort, Protocol: protocol, HostIP: p.HostIP})
	}
	return args, nil
}

// checkCapabilities refuses what the pod needs but no plugin of the network takes: libcni would leave it out silently.
// dns and cgroupPath are offers, not needs: the pod's resolv.conf and cgroup exist without plugins.
func checkCapabilities(list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) error {
	for _, need := range []string{"portMappings", "bandwidth"} {
		if _, asked := rt.CapabilityArgs[need]; !asked {
			continue
		}
		if !takes(list, need) {
			return errdefs.NotSupported("attach pod %s: it asks for %s, but no plugin of network %q has that capability", rt.ContainerID, need, list.Name)
		}
	}
	return nil
}

func takes(list *libcni.NetworkConfigList, capability string) bool {
	for _, p := range list.Plugins {
		if p.Network.Capabilities[capability] {
			return true
		}
	}
	return false
}
