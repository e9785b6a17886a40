package main

import (
	"encoding/json"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/ports"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// config is a checked configuration. The keys are those of the plugin of the same name by the CNI project. markMasqBit and
// externalSetMarkChain choose how iptables marks packets that want masquerading; as no packet is marked here, they change nothing.
type config struct {
	SNAT     bool
	Mappings []ports.Mapping
}

type wireConfig struct {
	Backend       string          `json:"backend"`
	SNAT          *bool           `json:"snat"`
	MasqAll       bool            `json:"masqAll"`
	ConditionsV4  json.RawMessage `json:"conditionsV4"`
	ConditionsV6  json.RawMessage `json:"conditionsV6"`
	RuntimeConfig struct {
		PortMappings []ports.Mapping `json:"portMappings"`
	} `json:"runtimeConfig"`
}

// parseConfig decodes and checks a configuration. It is pure.
func parseConfig(data []byte) (config, error) {
	var w wireConfig
	if err := json.Unmarshal(data, &w); err != nil {
		return config{}, plugin.WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse the portmap configuration: %w", err))
	}
	for _, f := range []struct {
		key   string
		asked bool
		value any
	}{
		{"backend", !plugin.KnownBackend(w.Backend), w.Backend},
		{"masqAll", w.MasqAll, true},
		{"conditionsV4", given(w.ConditionsV4), string(w.ConditionsV4)},
		{"conditionsV6", given(w.ConditionsV6), string(w.ConditionsV6)},
	} {
		if f.asked {
			return config{}, plugin.Unsupported(f.key, f.value)
		}
	}
	return config{SNAT: w.SNAT == nil || *w.SNAT, Mappings: w.RuntimeConfig.PortMappings}, nil
}

func given(raw json.RawMessage) bool {
	text := strings.TrimSpace(string(raw))
	return text != "" && text != "null" && text != "[]"
}

// buildPlan is pure but for the link, which the caller looks up: the attachment as the firewall wants it.
func buildPlan(c config, r *plugin.Request) (nft.Attachment, error) {
	a := nft.Attachment{Owner: firewallOwner(r), NoSNAT: !c.SNAT}
	addrs := r.PrevAddrs()
	if len(addrs) == 0 {
		return nft.Attachment{}, errdefs.Invalid("prevResult has no address of interface %s; put portmap after the plugin that makes it", r.IfName)
	}
	var err error
	a.Ports, err = ports.Plan(c.Mappings, addrs)
	return a, err
}

func firewallOwner(r *plugin.Request) nft.Owner {
	return nft.Owner{Network: r.Config.Name, ContainerID: r.ContainerID, IfName: r.IfName}
}
