package main

import (
	"encoding/json"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// policy says who may reach a container.
type policy int

const (
	open       policy = iota // everybody
	sameBridge               // not those behind other bridges with a policy
	isolated                 // nor those behind its own
)

// config is a checked configuration. The keys are those of the plugin of the same name by the CNI project.
type config struct {
	Policy  policy
	Foreign string // the backend that was asked for, if it is not nftables
}

type wireConfig struct {
	Backend                string `json:"backend"`
	IptablesAdminChainName string `json:"iptablesAdminChainName"`
	FirewalldZone          string `json:"firewalldZone"`
	IngressPolicy          string `json:"ingressPolicy"`
}

// parseConfig decodes and checks a configuration. It is pure. What would open or close something in iptables or firewalld, and has no
// counterpart here, is refused.
func parseConfig(data []byte) (config, error) {
	var w wireConfig
	if err := json.Unmarshal(data, &w); err != nil {
		return config{}, plugin.WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse the firewall configuration: %w", err))
	}
	if w.IptablesAdminChainName != "" {
		return config{}, unsupported("iptablesAdminChainName", w.IptablesAdminChainName,
			"no chain of iptables is used; put such rules into an nftables table of your own, on hook forward with a priority below 0")
	}
	if w.FirewalldZone != "" && w.FirewalldZone != "trusted" {
		return config{}, unsupported("firewalldZone", w.FirewalldZone, "firewalld is not asked; bind the bridge to the zone with firewall-cmd")
	}
	c := config{}
	switch w.Backend {
	case "", "nftables":
	case "iptables", "firewalld":
		c.Foreign = w.Backend
	default:
		return config{}, plugin.Unsupported("backend", w.Backend)
	}
	switch w.IngressPolicy {
	case "", "open":
	case "same-bridge":
		c.Policy = sameBridge
	case "isolated":
		c.Policy = isolated
	default:
		return config{}, errdefs.Invalid("ingressPolicy %.80q is none of open, same-bridge and isolated", w.IngressPolicy)
	}
	return c, nil
}

// unsupported is plugin.Unsupported with what to do.
func unsupported(key, value, advice string) error {
	return plugin.WithCode(types.ErrUnsupportedField, errdefs.NotSupported("config key %q with value %.80q is not supported: %s", key, value, advice))
}
