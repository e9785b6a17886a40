package main

import (
	"net"
	"net/netip"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
)

// add is ADD.
func add(r *plugin.Request) (*current.Result, error) {
	c, err := parseConfig(r.Config, r.Args)
	if err != nil {
		return nil, err
	}
	result := &current.Result{Routes: c.Routes, DNS: c.DNS}
	for _, a := range c.Addresses {
		ip := &current.IPConfig{Address: net.IPNet{
			IP: a.Prefix.Addr().AsSlice(), Mask: net.CIDRMask(a.Prefix.Bits(), a.Prefix.Addr().BitLen()),
		}}
		if a.Gateway.IsValid() {
			ip.Gateway = a.Gateway.AsSlice()
		}
		result.IPs = append(result.IPs, ip)
	}
	return result, nil
}

// check is CHECK: has the container been given the addresses that the configuration names, with their gateways?
func check(r *plugin.Request) error {
	c, err := parseConfig(r.Config, r.Args)
	if err != nil {
		return err
	}
	var have []address
	for _, ip := range r.Config.Prev.IPs {
		a, _ := netip.AddrFromSlice(ip.Address.IP)
		gw, _ := netip.AddrFromSlice(ip.Gateway)
		have = append(have, address{Prefix: netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), Gateway: gw.Unmap()})
	}
	for _, want := range c.Addresses {
		got := find(have, want.Prefix.Addr())
		if got == nil {
			return plugin.Mismatch("network %s: prevResult lacks the address %s of the configuration", r.Config.Name, want.Prefix.Addr())
		}
		if want.Gateway.IsValid() && got.Gateway != want.Gateway {
			return plugin.Mismatch("network %s: prevResult has another gateway for %s than the configuration, which says %s", r.Config.Name, want.Prefix.Addr(), want.Gateway)
		}
	}
	return nil
}

// status is STATUS: could ADD answer? The ips capability comes with ADD only, so a configuration without addresses is good.
func status(r *plugin.Request) error {
	_, err := parseConfig(r.Config, r.Args)
	return err
}
