package plan

import (
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/netdev"
)

// netDevices takes the devices of the host that are to be moved. A new network namespace is then made, and filled, before
// the fork, and joined like any other; with a user namespace, it is made together with that, and belongs to it.
func (p *Plan) netDevices(spec *specs.Spec, _ Facts) error {
	const field = "linux.netDevices"
	taken := make(map[string]string)
	for _, host := range slices.Sorted(maps.Keys(spec.Linux.NetDevices)) {
		d := netdev.Device{Name: host, As: spec.Linux.NetDevices[host].Name}
		if d.As == "" {
			d.As = host
		}
		if err := netdev.CheckName(host); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		if err := netdev.CheckPattern(d.As); err != nil {
			return fmt.Errorf("%s[%s].name: %w", field, host, err)
		}
		if other := taken[d.As]; other != "" && !d.Pattern() {
			return errdefs.Invalid("%s[%s].name: %s is the name of %s as well", field, host, d.As, other)
		}
		taken[d.As] = host
		p.NetDevices = append(p.NetDevices, d)
	}
	if len(p.NetDevices) == 0 {
		return nil
	}
	flag := Flag(specs.NetworkNamespace)
	switch {
	case !p.has(specs.NetworkNamespace):
		return errdefs.Invalid("%s: needs a network namespace in linux.namespaces, the devices are the host's already", field)
	case (p.Flags|p.Inner)&flag == 0: // one to join
	case p.User != nil && p.User.Path != "":
		return errdefs.NotSupported("%s: not supported by berth in a new network namespace of a user namespace that is joined; join the former, too", field)
	default:
		p.Flags &^= flag
		p.Inner &^= flag
		p.Join = append(p.Join, Namespace{Type: specs.NetworkNamespace})
	}
	return nil
}

// MakesNetwork tells whether a network namespace is to be made before the fork.
func (p *Plan) MakesNetwork() bool {
	return slices.Contains(p.Join, Namespace{Type: specs.NetworkNamespace})
}
