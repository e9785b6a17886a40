package network

import (
	"context"
	"net/netip"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// SetPodCIDR takes the node's pod subnet from the kubelet (CRI UpdateRuntimeConfig): one CIDR, or one of each family joined by
// a comma. Only the built-in network uses it, for pods from now on; with a configuration in the folder it changes nothing.
func (n *Network) SetPodCIDR(ctx context.Context, cidr string) error {
	c := choice{PodCIDR: true}
	for _, text := range strings.SplitN(cidr, ",", 3) {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return errdefs.Invalid("set pod CIDR %.100q: %w", cidr, err)
		}
		c.Subnets = append(c.Subnets, p.Masked())
	}
	if err := c.validate(); err != nil {
		return errdefs.Invalid("set pod CIDR %.100q: %w", cidr, err)
	}
	if err := n.enter(ctx); err != nil {
		return errdefs.New(errdefs.ErrUnavailable, "set pod CIDR: wait for network garbage collection: %w", err)
	}
	defer n.leave()
	return n.writeChoice(c)
}
