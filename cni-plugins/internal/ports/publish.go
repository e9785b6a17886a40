package ports

import (
	"net/netip"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
)

// Publish brings an attachment into the firewall. A host port that another pod or a process of the node has gives an error of kind
// ErrExists. The caller undoes a half-made Publish with Withdraw.
func Publish(f *nft.Firewall, a nft.Attachment) error {
	if err := checkListeners(a.Ports); err != nil {
		return err
	}
	if err := f.Add(a); err != nil {
		return err
	}
	return forgetConnections(a.Ports)
}

// Withdraw takes an owner's part out of the firewall. It is idempotent.
func Withdraw(f *nft.Firewall, o nft.Owner) error {
	ports, err := f.Remove(o)
	if err != nil {
		return err
	}
	return forgetConnections(ports)
}

// Collect takes everything of a network out of the firewall that belongs to no valid attachment, and the links that idle says
// have no pods.
func Collect(f *nft.Firewall, network string, valid []plugin.Attachment, idle func(link string) bool) error {
	var owners []nft.Owner
	for _, a := range valid {
		owners = append(owners, nft.Owner{Network: network, ContainerID: a.ContainerID, IfName: a.IfName})
	}
	ports, err := f.Collect(network, owners, idle)
	if err != nil {
		return err
	}
	return forgetConnections(ports)
}

// covers tells whether a port is published at an address.
func covers(p nft.Port, a netip.Addr) bool {
	host := p.Host.Addr()
	return host == a || host.IsUnspecified() && host.Is4() == a.Is4()
}
