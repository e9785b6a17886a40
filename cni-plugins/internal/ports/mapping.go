package ports

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Mapping is an entry of the portMappings capability (CNI conventions). Range is how many ports from there on are published, each to the one
// that is as far from ContainerPort, as podman's port mappings have it; 0 is 1.
type Mapping struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP"`
	Range         int    `json:"range"`
}

const portsMax = 16384 // of one pod and address family

// Plan turns mappings into ports for the pod's addresses, of which the first of each family is published. A mapping without a
// host IP counts for both families, as far as the pod has them. Where choice is given, a host port of 0 stays one that is to be chosen.
func Plan(mappings []Mapping, pod []netip.Addr, choice bool) ([]nft.Port, error) {
	if err := checkNumber(mappings); err != nil {
		return nil, err
	}
	var plan []nft.Port
	seen := map[nft.Port]bool{}
	for _, m := range mappings {
		ports, err := planOne(m, pod, choice)
		if err != nil {
			return nil, err
		}
		for _, p := range ports {
			if !seen[p] { // Kubernetes lists a port once for each container that names it
				seen[p] = true
				plan = append(plan, p)
			}
		}
	}
	return plan, checkUnique(plan)
}

func checkNumber(mappings []Mapping) error {
	number := 0
	for _, m := range mappings {
		if m.Range < 0 || m.Range > portsMax {
			return errdefs.Invalid("portMappings: range %d is not between 0 and %d", m.Range, portsMax)
		}
		if number += max(m.Range, 1); number > portsMax {
			return errdefs.Invalid("portMappings: more than %d ports", portsMax)
		}
	}
	return nil
}

func planOne(m Mapping, pod []netip.Addr, choice bool) ([]nft.Port, error) {
	protocol, err := parseProtocol(m.Protocol)
	if err != nil {
		return nil, err
	}
	count := max(m.Range, 1)
	chosen := choice && m.HostPort == 0
	if chosen && count > 1 {
		return nil, errdefs.Invalid("portMappings: hostPort 0 and range exclude each other: a port at a time can be chosen")
	}
	if !chosen && !portNumbers(m.HostPort, count) || !portNumbers(m.ContainerPort, count) {
		return nil, errdefs.Invalid("portMappings: hostPort %d and containerPort %d, and all %d ports from there on, must be from 1 to 65535 (hostPort 0 needs autoHostPorts in the configuration)", m.HostPort, m.ContainerPort, count)
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
		i := slices.IndexFunc(pod, func(a netip.Addr) bool { return a.Is4() == wildcard.Is4() })
		if i < 0 || from.Is4() != wildcard.Is4() {
			continue
		}
		for n := range count {
			ports = append(ports, nft.Port{
				Protocol: protocol,
				Host:     netip.AddrPortFrom(from, uint16(m.HostPort+n)),
				Pod:      netip.AddrPortFrom(pod[i], uint16(m.ContainerPort+n)),
			})
		}
	}
	if len(ports) == 0 {
		return nil, errdefs.Invalid("portMappings: host IP %q can't reach the pod, which has the addresses %v", m.HostIP, pod)
	}
	return ports, nil
}

// portNumbers tells whether count numbers from first on are ports.
func portNumbers(first, count int) bool { return first >= 1 && first <= 65535-count+1 }

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
	return a, nil
}

// checkUnique refuses one host port for two ports of the pod.
func checkUnique(plan []nft.Port) error {
	taken := nft.Taken{}
	for _, p := range plan {
		if open(p) {
			continue
		}
		if other, ok := taken.Find(p); ok {
			return errdefs.Invalid("portMappings: host port %s is asked for twice, for %s and %s", p, other.Pod, p.Pod)
		}
		taken.Add(p)
	}
	return nil
}
