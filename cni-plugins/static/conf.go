package main

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// config is a checked configuration. The keys are those of the plugin of the same name by the CNI project.
type config struct {
	Addresses []address
	Routes    []*types.Route
	DNS       types.DNS
}

// address is one of the container; Gateway is invalid if it has none.
type address struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
}

type wireAddress struct {
	Address string `json:"address"`
	Gateway string `json:"gateway"`
}

type wireIPAM struct {
	Addresses []wireAddress  `json:"addresses"`
	Routes    []*types.Route `json:"routes"`
	DNS       types.DNS      `json:"dns"`
}

type wireConfig struct {
	IPAM          *wireIPAM `json:"ipam"`
	RuntimeConfig struct {
		IPs []string `json:"ips"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			IPs []string `json:"ips"`
		} `json:"cni"`
	} `json:"args"`
}

// addressesMax bounds what one container can have, as the check for doubles is quadratic.
const addressesMax = 1024

// parseConfig decodes and checks a network configuration with an ipam section, and the addresses that CNI_ARGS add. It is pure.
func parseConfig(c plugin.Config, args map[string]string) (config, error) {
	var w wireConfig
	if err := json.Unmarshal(c.Raw, &w); err != nil {
		return config{}, plugin.WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse the ipam configuration: %w", err))
	}
	if w.IPAM == nil {
		return config{}, errdefs.Invalid("the configuration has no ipam section")
	}
	for _, r := range w.IPAM.Routes {
		if r == nil || r.Dst.IP == nil {
			return config{}, errdefs.Invalid("ipam: a route has no dst")
		}
	}
	addresses, err := choose(w, args)
	if err != nil {
		return config{}, err
	}
	return config{Addresses: addresses, Routes: w.IPAM.Routes, DNS: w.IPAM.DNS}, checkAddresses(c.CNIVersion, addresses)
}

// choose takes the addresses of the ips capability, else those of args, else those of the configuration and of CNI_ARGS together.
func choose(w wireConfig, args map[string]string) ([]address, error) {
	for _, ips := range [][]string{w.RuntimeConfig.IPs, w.Args.CNI.IPs} {
		if len(ips) > 0 {
			return parseAll("ips", ips)
		}
	}
	var list []address
	for _, wa := range w.IPAM.Addresses {
		a, err := parseAddress(wa.Address)
		if err != nil {
			return nil, errdefs.Invalid("ipam: addresses: %w", err)
		}
		if a.Gateway, err = parseGateway(wa.Gateway, a); err != nil {
			return nil, errdefs.Invalid("ipam: addresses: %w", err)
		}
		list = append(list, a)
	}
	added, err := parseAll("CNI_ARGS: IP", split(args["IP"]))
	if err != nil {
		return nil, plugin.WithCode(types.ErrInvalidEnvironmentVariables, err)
	}
	list = append(list, added...)
	return list, plugin.WithCode(types.ErrInvalidEnvironmentVariables, addGateways(list, split(args["GATEWAY"])))
}

func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func parseAll(where string, texts []string) ([]address, error) {
	var list []address
	for _, text := range texts {
		a, err := parseAddress(strings.TrimSpace(text))
		if err != nil {
			return nil, errdefs.Invalid("%s: %w", where, err)
		}
		list = append(list, a)
	}
	return list, nil
}

// parseAddress reads an address with the length of its subnet's prefix, which nothing else could tell.
func parseAddress(text string) (address, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return address{}, errdefs.Invalid("%.100q is not an address with a prefix length, such as 10.0.0.2/24", text)
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if a := p.Addr(); a.IsUnspecified() || a.IsMulticast() || a.Is4In6() {
		return address{}, errdefs.Invalid("%s can't be the address of a container", p)
	}
	return address{Prefix: p}, nil
}

func parseGateway(text string, of address) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	gw, err := netip.ParseAddr(text)
	if gw = gw.Unmap(); err != nil || gw.Zone() != "" || gw.IsUnspecified() || gw.Is4() != of.Prefix.Addr().Is4() {
		return netip.Addr{}, errdefs.Invalid("gateway %.100q of %s is not an address of the same family", text, of.Prefix)
	}
	return gw, nil
}

// addGateways gives each address the gateway of CNI_ARGS that is in its subnet.
func addGateways(list []address, texts []string) error {
	for _, text := range texts {
		gw, err := netip.ParseAddr(strings.TrimSpace(text))
		if gw = gw.Unmap(); err != nil || gw.Zone() != "" {
			return errdefs.Invalid("CNI_ARGS: GATEWAY: %.100q is not an address", text)
		}
		for i, a := range list {
			if a.Prefix.Contains(gw) {
				list[i].Gateway = gw
			}
		}
	}
	return nil
}

// checkAddresses refuses doubles, and more than the result of an old version can tell: before 0.3.0 one of each family.
func checkAddresses(v string, list []address) error {
	if len(list) > addressesMax {
		return errdefs.Invalid("ipam: %d addresses, at most %d are taken", len(list), addressesMax)
	}
	one, err := version.GreaterThanOrEqualTo("0.2.0", v)
	if err != nil {
		return errdefs.Bug("compare CNI versions: %w", err)
	}
	for i, a := range list {
		for _, b := range list[:i] {
			switch {
			case a.Prefix.Addr() == b.Prefix.Addr():
				return errdefs.Invalid("ipam: the address %s is given twice", a.Prefix.Addr())
			case one && a.Prefix.Addr().Is4() == b.Prefix.Addr().Is4():
				return errdefs.Invalid("ipam: a result of CNI version %s has room for one address of each family; raise cniVersion to 0.3.0 or more", v)
			}
		}
	}
	return nil
}

// find returns the address in a list, nil if it is not there.
func find(list []address, a netip.Addr) *address {
	i := slices.IndexFunc(list, func(have address) bool { return have.Prefix.Addr() == a })
	if i < 0 {
		return nil
	}
	return &list[i]
}
