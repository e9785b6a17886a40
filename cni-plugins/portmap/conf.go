package main

import (
	"encoding/json"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/ports"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// config is a checked configuration. The keys are those of the plugin of the same name by the CNI project. markMasqBit and
// externalSetMarkChain choose how iptables marks packets that want masquerading; as no packet is marked here, they change nothing.
type config struct {
	SNAT, MasqAll bool
	When4, When6  []nft.Match // what is taken to published ports; nil = all
	Mappings      []ports.Mapping
	Chooser       ports.Chooser
}

type wireConfig struct {
	Backend              string   `json:"backend"`
	SNAT                 *bool    `json:"snat"`
	MasqAll              bool     `json:"masqAll"`
	ConditionsV4         []string `json:"conditionsV4"`
	ConditionsV6         []string `json:"conditionsV6"`
	MarkMasqBit          *int     `json:"markMasqBit"`
	ExternalSetMarkChain *string  `json:"externalSetMarkChain"`
	AutoHostPorts        string   `json:"autoHostPorts"`
	DataDir              string   `json:"dataDir"` // see plugin.Config.DataDir
	RuntimeConfig        struct {
		PortMappings []ports.Mapping `json:"portMappings"`
	} `json:"runtimeConfig"`
}

// parseConfig decodes and checks a configuration. It is pure.
func parseConfig(pc plugin.Config) (config, error) {
	var w wireConfig
	if err := json.Unmarshal(pc.Raw, &w); err != nil {
		return config{}, plugin.WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse the portmap configuration: %w", err))
	}
	if !plugin.KnownBackend(w.Backend) {
		return config{}, plugin.Unsupported("backend", w.Backend)
	}
	if bit := w.MarkMasqBit; bit != nil && (*bit < 0 || *bit > 31) {
		return config{}, errdefs.Invalid("markMasqBit %d is not between 0 and 31", *bit)
	}
	if w.MarkMasqBit != nil && w.ExternalSetMarkChain != nil {
		return config{}, errdefs.Invalid("markMasqBit and externalSetMarkChain exclude each other")
	}
	c := config{SNAT: w.SNAT == nil || *w.SNAT, MasqAll: w.MasqAll, Mappings: w.RuntimeConfig.PortMappings}
	var err error
	if c.When4, err = ports.ParseConditions("conditionsV4", w.ConditionsV4, true); err != nil {
		return config{}, err
	}
	if c.When6, err = ports.ParseConditions("conditionsV6", w.ConditionsV6, false); err != nil {
		return config{}, err
	}
	dir, err := pc.DataDir()
	if err != nil {
		return config{}, err
	}
	c.Chooser, err = ports.ParseChooser(w.AutoHostPorts, dir)
	return c, err
}

// buildPlan is pure but for the link, which the caller looks up: the attachment as the firewall wants it.
func buildPlan(c config, r *plugin.Request) (nft.Attachment, error) {
	a := nft.Attachment{Owner: firewallOwner(r), NoSNAT: !c.SNAT, MasqAll: c.SNAT && c.MasqAll}
	addrs := r.PrevAddrs()
	if len(addrs) == 0 {
		return nft.Attachment{}, errdefs.Invalid("prevResult has no address of interface %s; put portmap after the plugin that makes it", r.IfName)
	}
	plan, err := ports.Plan(c.Mappings, addrs, c.Chooser.First != 0)
	if err != nil {
		return nft.Attachment{}, err
	}
	a.Ports, err = ports.Restrict(plan, c.When4, c.When6)
	return a, err
}

func firewallOwner(r *plugin.Request) nft.Owner {
	return nft.Owner{Network: r.Config.Name, ContainerID: r.ContainerID, IfName: r.IfName}
}
