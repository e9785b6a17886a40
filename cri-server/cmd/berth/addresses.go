package main

import (
	"fmt"
	"net"
	"net/netip"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// checkAddresses refuses to publish ports at addresses that this node does not have: nothing would ever arrive there.
func checkAddresses(ports []*cri.PortMapping) error {
	var own []netip.Prefix
	for _, p := range ports {
		if p.GetHostIp() == "" {
			continue
		}
		if own == nil {
			var err error
			if own, err = nodeAddresses(); err != nil {
				return err
			}
		}
		if !hasAddress(own, p.GetHostIp()) {
			return errdefs.Invalid("-p %s: no interface of this node has the address %s; leave it out for all addresses", portText(p), p.GetHostIp())
		}
	}
	return nil
}

func nodeAddresses() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("look for the node's addresses: %w", err)
	}
	var own []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p)
		}
	}
	return own, nil
}

// hasAddress says whether packets for an address arrive at a node. All of loopback's network does (127.0.0.0/8).
func hasAddress(own []netip.Prefix, text string) bool {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	if addr.IsUnspecified() {
		return true
	}
	for _, p := range own {
		if p.Addr() == addr || addr.IsLoopback() && p.Addr().IsLoopback() && p.Contains(addr) {
			return true
		}
	}
	return false
}
