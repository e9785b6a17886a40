package main

import (
	"errors"

	"github.com/berth-runtime/berth/cni-plugins/internal/ipam"
	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/names"
	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/ports"
	"github.com/berth-runtime/berth/netns"
)

// del is DEL. It needs neither prevResult nor the namespace nor a configuration that ADD would take, and does each part whatever becomes of the others. The addresses
// are freed last, so that nobody gets one that is still in use; if the link can't be taken away they stay reserved.
func del(r *plugin.Request) error {
	host, err := netns.Current()
	if err != nil {
		return err
	}
	fw, err := nft.Open()
	if err != nil {
		return errors.Join(err, host.Close())
	}
	dataDir, _ := r.Config.DataDir()
	hostsDir, _ := r.Config.HostsDir()
	withdrawErr := errors.Join(
		names.Open(hostsDir, r.Config.Name).Remove(names.Owner(r.ContainerID, r.IfName)),
		ports.Withdraw(fw, ports.Records(dataDir), firewallOwner(r)))
	linkErr := link.Condemn(host.Netlink(), r.NS, link.HostName(r.Config.Name, r.ContainerID, r.IfName), r.IfName)
	var ipamErr error
	if linkErr == nil && r.Config.IPAMType != "" {
		var delegate *ipam.Plugin
		if delegate, ipamErr = ipam.Open(r); ipamErr == nil {
			ipamErr = delegate.Del(r)
		}
	}
	return errors.Join(withdrawErr, linkErr, ipamErr, host.Close(), fw.Close())
}
