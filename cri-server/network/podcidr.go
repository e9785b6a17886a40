package network

import (
	"context"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// SetPodCIDR takes the node's pod subnet from the kubelet (CRI UpdateRuntimeConfig): one CIDR, or one of each family joined by
// a comma. The built-in network uses it, and configured ones with a plugin that has the capability ipRanges, for pods from now on.
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

// rangeArg is one range of the ipRanges capability.
type rangeArg struct {
	Subnet string `json:"subnet"`
}

// addRanges passes the node's pod subnets to a network that takes them, one set for each address family.
func (n *Network) addRanges(list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) error {
	if !takes(list, "ipRanges") {
		return nil
	}
	c, ok, err := n.readChoice()
	if err != nil || !ok || !c.PodCIDR {
		return err
	}
	var sets [][]rangeArg
	for _, s := range c.Subnets {
		sets = append(sets, []rangeArg{{Subnet: s.String()}})
	}
	rt.CapabilityArgs["ipRanges"] = sets
	return nil
}
