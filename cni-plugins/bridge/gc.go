package main

import (
	"errors"

	"github.com/berth-runtime/berth/cni-plugins/internal/ipam"
	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/names"
	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/ports"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/netns"
)

// gc is GC: links, firewall and addresses of attachments that are not valid go, and the bridge with the last of them. It goes
// on after an error.
func gc(r *plugin.Request) (err error) {
	conf, err := parseConfig(r.Config, r.Args)
	if err != nil {
		return err
	}
	host, err := netns.Current()
	if err != nil {
		return err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(host.Close)
	fw, err := nft.Open()
	if err != nil {
		return err
	}
	cu.Add(fw.Close)
	h := host.Netlink()
	var links, owners []string
	for _, a := range r.Config.Valid {
		links = append(links, link.HostName(r.Config.Name, a.ContainerID, a.IfName))
		owners = append(owners, names.Owner(a.ContainerID, a.IfName))
	}
	errs := []error{link.Reap(h, conf.Bridge, r.Config.Name, links), names.Open(conf.HostsDir, r.Config.Name).Collect(owners)}
	if len(r.Config.Valid) == 0 {
		errs = append(errs, link.RemoveIdleBridge(h, conf.Bridge))
	}
	gateway := link.GatewayName(conf.Bridge, conf.VLANs.Tag)
	idle := func(name string) bool { return name == gateway && link.IsIdleBridge(h, conf.Bridge) }
	errs = append(errs, ports.Collect(fw, conf.Chooser, r.Config.Name, r.Config.Valid, idle))
	if conf.HasIPAM {
		delegate, err := ipam.Open(r)
		if err == nil {
			err = delegate.GC(r)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// status is STATUS: could an ADD work now?
func status(r *plugin.Request) error {
	conf, err := parseConfig(r.Config, r.Args)
	if err != nil {
		return err
	}
	host, err := netns.Current()
	if err != nil {
		return err
	}
	_, err = link.FindBridge(host.Netlink(), conf.Bridge)
	if isMissing(err) {
		err = nil // ADD makes it
	}
	if err := errors.Join(err, host.Close()); err != nil || !conf.HasIPAM {
		return err
	}
	if err := nft.With((*nft.Firewall).Probe); err != nil {
		return err
	}
	delegate, err := ipam.Open(r)
	if err != nil {
		return err
	}
	return delegate.Status(r)
}
