package ports

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Mapping is an entry of the portMappings capability (CNI conventions).
type Mapping struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP"`
}

const mappingsMax = 16384 // of one pod

// Plan turns mappings into ports for the pod's addresses, of which the first of each family is published. A mapping without a
// host IP counts for both families, as far as the pod has them.
func Plan(mappings []Mapping, pod []netip.Addr) ([]nft.Port, error) {
	if len(mappings) > mappingsMax {
		return nil, errdefs.Invalid("portMappings: %d entries, at most %d are taken", len(mappings), mappingsMax)
	}
	var plan []nft.Port
	for _, m := range mappings {
		ports, err := planOne(m, pod)
		if err != nil {
			return nil, err
		}
		for _, p := range ports {
			if !slices.Contains(plan, p) { // Kubernetes lists a port once for each container that names it
				plan = append(plan, p)
			}
		}
	}
	return plan, checkUnique(plan)
}

func planOne(m Mapping, pod []netip.Addr) ([]nft.Port, error) {
	protocol, err := parseProtocol(m.Protocol)
	if err != nil {
		return nil, err
	}
	if m.HostPort < 1 || m.HostPort > 65535 || m.ContainerPort < 1 || m.ContainerPort > 65535 {
		return nil, errdefs.Invalid("portMappings: hostPort %d and containerPort %d must be from 1 to 65535", m.HostPort, m.ContainerPort)
	}
	host, err := parseHostIP(m.HostIP)
	if err != nil {
		return nil, err
	}
	var ports []nft.Port
	for _, wildcard := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		from := host
		if !host.IsValid() {
			from = wildcard
		}
		if i := slices.IndexFunc(pod, func(a netip.Addr) bool { return a.Is4() == wildcard.Is4() }); i >= 0 && from.Is4() == wildcard.Is4() {
			ports = append(ports, nft.Port{
				Protocol: protocol,
				Host:     netip.AddrPortFrom(from, uint16(m.HostPort)),
				Pod:      netip.AddrPortFrom(pod[i], uint16(m.ContainerPort)),
			})
		}
	}
	if len(ports) == 0 {
		return nil, errdefs.Invalid("portMappings: host IP %q can't reach the pod, which has the addresses %v", m.HostIP, pod)
	}
	return ports, nil
}

func parseProtocol(text string) (nft.Protocol, error) {
	switch strings.ToLower(text) {
	case "", "tcp":
		return nft.TCP, nil
	case "udp":
		return nft.UDP, nil
	case "sctp":
		return nft.SCTP, nil
	}
	return 0, errdefs.Invalid("portMappings: protocol %q is none of tcp, udp and sctp", text)
}

// parseHostIP returns the invalid address for "", which means all.
func parseHostIP(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, errdefs.Invalid("portMappings: hostIP: %w", err)
	}
	a = a.Unmap()
	if a.Zone() != "" || a.IsMulticast() {
		return netip.Addr{}, errdefs.Invalid("portMappings: hostIP %s is no address that a service can have", a)
	}
	if a == netip.IPv6Loopback() {
		return netip.Addr{}, plugin.Unsupported("portMappings.hostIP", "::1 (the kernel can't route it to a pod; use 127.0.0.1)")
	}
	return a, nil
}

// checkUnique refuses one host port for two ports of the pod.
func checkUnique(plan []nft.Port) error {
	for i, p := range plan {
		for _, other := range plan[:i] {
			if p.Conflicts(other) {
				return errdefs.Invalid("portMappings: host port %s is asked for twice, for %s and %s", p, other.Pod, p.Pod)
			}
		}
	}
	return nil
}
