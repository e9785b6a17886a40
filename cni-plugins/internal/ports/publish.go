package ports

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// tries bounds how often ports are chosen again because another container was faster.
const tries = 8

// Publish brings an attachment into the firewall, and returns its ports, those that were open chosen. A host port that another pod or
// a process of the node has gives an error of kind ErrExists. The caller undoes a half-made Publish with Withdraw.
func Publish(f *nft.Firewall, c Chooser, a nft.Attachment) ([]nft.Port, error) {
	if !slices.ContainsFunc(a.Ports, open) {
		return a.Ports, publish(f, a)
	}
	wanted := a.Ports
	for i := 1; ; i++ {
		a.Ports = wanted
		var err error
		if a.Ports, err = c.choose(f, a); err != nil {
			return nil, err
		}
		if err := c.save(a.Owner, a.Ports); err != nil {
			return nil, err
		}
		if err = publish(f, a); err == nil || !errors.Is(err, errdefs.ErrExists) || i == tries {
			return a.Ports, err
		}
	}
}

func publish(f *nft.Firewall, a nft.Attachment) error {
	if err := checkListeners(a.Ports); err != nil {
		return err
	}
	if err := f.Add(a); err != nil {
		return err
	}
	return forgetConnections(a.Ports)
}

// Tell names the ports that were chosen, on stderr: a result has no place for them.
func Tell(r *plugin.Request, wanted, published []nft.Port) {
	for i, p := range published {
		if open(wanted[i]) {
			r.Warn("network %s: host port %s was chosen for %s", r.Config.Name, p, p.Pod)
		}
	}
}

// Withdraw takes an owner's part out of the firewall. It is idempotent.
func Withdraw(f *nft.Firewall, c Chooser, o nft.Owner) error {
	ports, err := f.Remove(o)
	if err != nil {
		return err
	}
	return errors.Join(forgetConnections(ports), c.forget(o))
}

// Collect takes everything of a network out of the firewall that belongs to no valid attachment, and the links that idle says
// have no pods.
func Collect(f *nft.Firewall, c Chooser, network string, valid []plugin.Attachment, idle func(link string) bool) error {
	var owners []nft.Owner
	for _, a := range valid {
		owners = append(owners, nft.Owner{Network: network, ContainerID: a.ContainerID, IfName: a.IfName})
	}
	ports, err := f.Collect(network, owners, idle)
	if err != nil {
		return err
	}
	return errors.Join(forgetConnections(ports), c.collect(network, owners))
}

// covers tells whether a port is published at an address.
func covers(p nft.Port, a netip.Addr) bool {
	host := p.Host.Addr()
	return host == a || host.IsUnspecified() && host.Is4() == a.Is4()
}
