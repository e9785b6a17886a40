package main

import (
	"encoding/json"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// config is a checked configuration. The keys are those of the plugin of the same name by the CNI project.
type config struct {
	Ingress, Egress link.Shape // towards and from the container
}

func (c config) none() bool { return c.Ingress.Rate == 0 && c.Egress.Rate == 0 }

type wireConfig struct {
	*wireBandwidth
	RuntimeConfig struct {
		Bandwidth *wireBandwidth `json:"bandwidth"`
	} `json:"runtimeConfig"`
}

type wireBandwidth struct {
	IngressRate     uint64   `json:"ingressRate"`
	IngressBurst    uint64   `json:"ingressBurst"`
	EgressRate      uint64   `json:"egressRate"`
	EgressBurst     uint64   `json:"egressBurst"`
	UnshapedSubnets []string `json:"unshapedSubnets"`
	ShapedSubnets   []string `json:"shapedSubnets"`
}

// subnetsMax bounds what each packet may be compared with, one after the other.
const subnetsMax = 256

// parseConfig decodes and checks a configuration. It is pure. If any of its keys stands in the configuration itself, the capability does
// not count, as with the CNI project's.
func parseConfig(data []byte) (config, error) {
	w := wireConfig{wireBandwidth: &wireBandwidth{}}
	if err := json.Unmarshal(data, &w); err != nil {
		return config{}, plugin.WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse the bandwidth configuration: %w", err))
	}
	b := w.wireBandwidth
	if b.isZero() && w.RuntimeConfig.Bandwidth != nil {
		b = w.RuntimeConfig.Bandwidth
	}
	if len(b.ShapedSubnets) > 0 && len(b.UnshapedSubnets) > 0 {
		return config{}, errdefs.Invalid("shapedSubnets and unshapedSubnets exclude each other: what is in neither would be both")
	}
	only, err := parseSubnets("shapedSubnets", b.ShapedSubnets)
	if err != nil {
		return config{}, err
	}
	except, err := parseSubnets("unshapedSubnets", b.UnshapedSubnets)
	if err != nil {
		return config{}, err
	}
	shape := func(rate, burst uint64) link.Shape {
		return link.Shape{Limit: link.Limit{Rate: rate, Burst: burst}, Only: only, Except: except}
	}
	c := config{Ingress: shape(b.IngressRate, b.IngressBurst), Egress: shape(b.EgressRate, b.EgressBurst)}
	if err := c.Ingress.Validate("ingress"); err != nil {
		return config{}, err
	}
	return c, c.Egress.Validate("egress")
}

func (b *wireBandwidth) isZero() bool {
	return b.IngressRate == 0 && b.IngressBurst == 0 && b.EgressRate == 0 && b.EgressBurst == 0 && b.ShapedSubnets == nil && b.UnshapedSubnets == nil
}

func parseSubnets(key string, texts []string) ([]netip.Prefix, error) {
	if len(texts) > subnetsMax {
		return nil, errdefs.Invalid("%s: %d subnets, at most %d are taken", key, len(texts), subnetsMax)
	}
	var list []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Is4In6() {
			return nil, errdefs.Invalid("%s: %.100q is not a subnet such as 10.0.0.0/8", key, text)
		}
		list = append(list, p.Masked())
	}
	return list, nil
}
