package main

import (
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-runtime/berth/cni-plugins/internal/ipam"
	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/netns"
)

// add is ADD. On an error everything is as before, the bridge aside: another ADD may be using it already.
func add(r *plugin.Request) (result *current.Result, err error) {
	conf, err := parseConfig(r.Config, r.Args)
	if err != nil {
		return nil, err
	}
	host, err := netns.Current()
	if err != nil {
		return nil, err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(host.Close)
	fw, err := nft.Open()
	if err != nil {
		return nil, err
	}
	cu.Add(fw.Close)
	undo := cleanup.Make(&err)
	defer undo.Clean()

	var addresses *current.Result
	if conf.HasIPAM {
		delegate, err := ipam.Open(r)
		if err != nil {
			return nil, err
		}
		if addresses, err = delegate.Add(r); err != nil {
			return nil, err
		}
		undo.Add(func() error { return delegate.Del(r) })
	}
	routes, err := link.DefaultRoutes(host.Netlink())
	if err != nil {
		return nil, err
	}
	mtu := conf.MTU
	if mtu == 0 {
		if mtu, err = link.DefaultMTU(host.Netlink(), routes); err != nil {
			return nil, err
		}
	}
	if conf, err = conf.decide(host.Netlink(), routes); err != nil {
		return nil, err
	}
	p, err := buildPlan(conf, r, addresses, mtu)
	if err != nil {
		return nil, err
	}
	if err := apply(r, p, host, fw, undo); err != nil {
		return nil, err
	}
	undo.Release()
	return merge(r.Config.Prev, p.Result), nil
}

// merge appends our result to that of the plugins before us in a chain.
func merge(prev, own *current.Result) *current.Result {
	if prev == nil {
		return own
	}
	offset := len(prev.Interfaces)
	prev.Interfaces = append(prev.Interfaces, own.Interfaces...)
	for _, ip := range own.IPs {
		*ip.Interface += offset
	}
	prev.IPs = append(prev.IPs, own.IPs...)
	prev.Routes = append(prev.Routes, own.Routes...)
	if prev.DNS.IsEmpty() {
		prev.DNS = own.DNS
	}
	return prev
}
