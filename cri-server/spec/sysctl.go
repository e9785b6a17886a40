package spec

import (
	"maps"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// PodSysctls returns the sysctls to write inside a new pod's namespaces, in dotted notation. A pod with a network of its
// own may bind low ports and ping without capabilities, as everywhere since Docker 20.10; what the client says wins.
//
// Whether a sysctl belongs to a namespace, and the pod has that namespace to itself, is for netns to know and refuse.
func PodSysctls(p PodConfig) (map[string]string, error) {
	out := map[string]string{}
	if p.Security.Namespaces.Network == NamespacePod {
		out["net.ipv4.ip_unprivileged_port_start"] = "0"
		out["net.ipv4.ping_group_range"] = "0 2147483647"
	}
	asked := map[string]bool{}
	for _, raw := range slices.Sorted(maps.Keys(p.Sysctls)) {
		if err := checkText("sysctl", raw, maxText); err != nil {
			return nil, err
		}
		if err := checkText("value of sysctl "+raw, p.Sysctls[raw], maxText); err != nil {
			return nil, err
		}
		key := dotted(raw)
		if asked[key] {
			return nil, errdefs.Invalid("sysctl %s is given twice", key)
		}
		asked[key], out[key] = true, p.Sysctls[raw]
	}
	return out, nil
}

// dotted turns the notation of sysctl(8) that separates by slashes, so that a dot can be part of a name, into the dotted
// one, where such a dot is a slash.
func dotted(key string) string {
	if i := strings.IndexAny(key, "./"); i < 0 || key[i] == '.' {
		return key
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '/':
			return '.'
		case '.':
			return '/'
		}
		return r
	}, key)
}
