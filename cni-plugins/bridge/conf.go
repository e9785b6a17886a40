package main

import (
	"encoding/json"
	"net"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/names"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/ports"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// config is a checked configuration. The keys are those of the plugin of the same name by the CNI project.
type config struct {
	Bridge           string
	IsGateway        bool
	IsDefaultGateway bool
	ForceAddress     bool
	IPMasq           bool
	MTU              int // 0 = that of the default route
	Hairpin, Promisc bool
	DAD              bool
	NoInterface      bool // the container's end stays down and without addresses
	Isolated         bool // from other isolated ports of the bridge
	Open             bool // the node routes to other networks of ours
	Undecided        bool // the configuration does not say whether it is open; see decide
	Internal         bool // the node routes to no other network
	Closed           bool // the node routes to published ports alone
	CheckMAC         bool
	VLANs            link.VLANs
	MAC              net.HardwareAddr // nil = derived from the address
	Ports            []ports.Mapping
	Chooser          ports.Chooser
	Ingress, Egress  link.Limit // towards and from the container
	Names            []string   // of the container, for the network's hosts file
	HostsDir         string     // of the files of names
	DNS              types.DNS  // empty = what the ipam plugin says
	HasIPAM          bool
}

type wireConfig struct {
	Bridge                    string      `json:"bridge"`
	IsGateway                 bool        `json:"isGateway"`
	IsDefaultGateway          bool        `json:"isDefaultGateway"`
	ForceAddress              bool        `json:"forceAddress"`
	IPMasq                    bool        `json:"ipMasq"`
	IPMasqBackend             string      `json:"ipMasqBackend"`
	MTU                       int         `json:"mtu"`
	HairpinMode               bool        `json:"hairpinMode"`
	PromiscMode               bool        `json:"promiscMode"`
	Vlan                      int         `json:"vlan"`
	VlanTrunk                 []wireTrunk `json:"vlanTrunk"`
	PreserveDefaultVlan       bool        `json:"preserveDefaultVlan"`
	MacSpoofChk               bool        `json:"macspoofchk"`
	EnableDAD                 bool        `json:"enabledad"`
	DisableContainerInterface bool        `json:"disableContainerInterface"`
	PortIsolation             bool        `json:"portIsolation"`
	ICC                       *bool       `json:"icc"`
	Isolation                 string      `json:"isolation"`
	Internal                  bool        `json:"internal"`
	PublishedOnly             bool        `json:"publishedOnly"`
	DNS                       types.DNS   `json:"dns"`
	AutoHostPorts             string      `json:"autoHostPorts"`
	DataDir                   string      `json:"dataDir"` // see plugin.Config.DataDir
	HostsDir                  string      `json:"hostsDir"`
	Args                      struct {
		CNI struct {
			MAC string `json:"mac"`
		} `json:"cni"`
	} `json:"args"`
	RuntimeConfig wireRuntime `json:"runtimeConfig"`
}

// wireTrunk is one VLAN, or those from MinID to MaxID.
type wireTrunk struct {
	MinID *int `json:"minID"`
	MaxID *int `json:"maxID"`
	ID    *int `json:"id"`
}

// wireRuntime are the capabilities that the runtime fills in. Those that are only decoded to be refused stand last.
type wireRuntime struct {
	MAC          string          `json:"mac"`
	PortMappings []ports.Mapping `json:"portMappings"`
	Bandwidth    *struct {
		IngressRate  uint64 `json:"ingressRate"`
		IngressBurst uint64 `json:"ingressBurst"`
		EgressRate   uint64 `json:"egressRate"`
		EgressBurst  uint64 `json:"egressBurst"`
	} `json:"bandwidth"`
	DNS *struct {
		Servers  []string `json:"servers"`
		Searches []string `json:"searches"`
		Options  []string `json:"options"`
	} `json:"dns"`
	Aliases json.RawMessage `json:"aliases"`

	InfinibandGUID string `json:"infinibandGUID"`
	DeviceID       string `json:"deviceID"`
}

const (
	defaultBridge = "cni0"
	mtuMin        = 68 // what every link must take (RFC 791)
	mtuMax        = 65535
	mtuIPv6       = 1280 // below, Linux has no IPv6 on a link (RFC 8200)
	nameMax       = 15   // IFNAMSIZ without the byte at the end
)

// parseConfig decodes and checks a configuration. It is pure. Keys whose meaning it knows and does not implement are refused.
func parseConfig(c plugin.Config, args map[string]string) (config, error) {
	w := wireConfig{Bridge: defaultBridge, PreserveDefaultVlan: true}
	if err := json.Unmarshal(c.Raw, &w); err != nil {
		return config{}, plugin.WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse the bridge configuration: %w", err))
	}
	if err := refuse(w); err != nil {
		return config{}, err
	}
	conf := config{
		Bridge: w.Bridge, IsGateway: w.IsGateway || w.IsDefaultGateway, IsDefaultGateway: w.IsDefaultGateway,
		ForceAddress: w.ForceAddress, IPMasq: w.IPMasq, MTU: w.MTU, Hairpin: w.HairpinMode, Promisc: w.PromiscMode,
		DAD: w.EnableDAD, NoInterface: w.DisableContainerInterface, Isolated: w.PortIsolation || w.ICC != nil && !*w.ICC,
		Open: w.Isolation == "none" || w.Isolation == "" && !w.IsGateway && !w.IsDefaultGateway, Internal: w.Internal,
		Undecided: w.Isolation == "" && (w.IsGateway || w.IsDefaultGateway),
		Closed:    w.PublishedOnly, CheckMAC: w.MacSpoofChk, VLANs: link.VLANs{Tag: w.Vlan, DropDefault: !w.PreserveDefaultVlan},
		Ports: w.RuntimeConfig.PortMappings, HasIPAM: c.IPAMType != "",
	}
	if b := w.RuntimeConfig.Bandwidth; b != nil {
		conf.Ingress = link.Limit{Rate: b.IngressRate, Burst: b.IngressBurst}
		conf.Egress = link.Limit{Rate: b.EgressRate, Burst: b.EgressBurst}
	}
	conf.DNS = w.DNS
	if d := w.RuntimeConfig.DNS; d != nil {
		conf.DNS = types.DNS{Nameservers: d.Servers, Search: d.Searches, Options: d.Options}
	}
	var err error
	if conf.VLANs.Trunk, err = parseTrunk(w.VlanTrunk, w.Vlan); err != nil {
		return config{}, err
	}
	dataDir, err := c.DataDir()
	if err != nil {
		return config{}, err
	}
	if conf.HostsDir, err = c.HostsDir(); err != nil {
		return config{}, err
	}
	if conf.Chooser, err = ports.ParseChooser(w.AutoHostPorts, dataDir); err != nil {
		return config{}, err
	}
	aliases, err := names.ParseAliases(w.RuntimeConfig.Aliases, c.Name)
	if err != nil {
		return config{}, err
	}
	conf.Names = names.WithPod(aliases, args["K8S_POD_NAME"], args["K8S_POD_NAMESPACE"])
	if conf.MAC, err = parseMAC(args["MAC"], w.Args.CNI.MAC, w.RuntimeConfig.MAC); err != nil {
		return config{}, err
	}
	return conf, conf.check()
}

// refuse names the first key that asks for something which this plugin does not do.
func refuse(w wireConfig) error {
	rc := w.RuntimeConfig
	for _, f := range []struct {
		key   string
		asked bool
		value any
	}{
		{"isolation", w.Isolation != "" && w.Isolation != "strict" && w.Isolation != "none", w.Isolation},
		{"ipMasqBackend", !plugin.KnownBackend(w.IPMasqBackend), w.IPMasqBackend},
		{"runtimeConfig.infinibandGUID", rc.InfinibandGUID != "", rc.InfinibandGUID},
		{"runtimeConfig.deviceID", rc.DeviceID != "", rc.DeviceID},
	} {
		if f.asked {
			return plugin.Unsupported(f.key, f.value)
		}
	}
	return nil
}

func (c config) check() error {
	if err := utils.ValidateInterfaceName(c.Bridge); err != nil {
		return errdefs.Invalid("bridge %q: %s", c.Bridge, err.Msg)
	}
	if gateway := link.GatewayName(c.Bridge, c.VLANs.Tag); c.IsGateway && len(gateway) > nameMax {
		return errdefs.Invalid("bridge %q: the name of its gateway in the VLAN, %s, is longer than %d letters", c.Bridge, gateway, nameMax)
	}
	switch {
	case c.VLANs.Tag < 0 || c.VLANs.Tag > link.MaxVLAN:
		return errdefs.Invalid("vlan %d is not between 0 and %d", c.VLANs.Tag, link.MaxVLAN)
	case c.MTU != 0 && c.MTU < mtuMin || c.MTU > mtuMax:
		return errdefs.Invalid("mtu %d is not 0 or between %d and %d", c.MTU, mtuMin, mtuMax)
	case c.Internal && (c.IPMasq || len(c.Ports) > 0):
		return errdefs.Invalid("internal excludes ipMasq and portMappings: nothing of an internal network is reached from outside, nor reaches it")
	case c.Hairpin && c.Promisc:
		return errdefs.Invalid("hairpinMode and promiscMode exclude each other")
	case c.NoInterface && c.HasIPAM:
		return errdefs.Invalid("disableContainerInterface and ipam exclude each other: an interface that is down has no addresses")
	case len(c.Names) > 0 && !c.HasIPAM:
		return errdefs.Invalid("aliases need an ipam section: there is no address to name")
	case len(c.Ports) > 0 && !c.HasIPAM:
		return errdefs.Invalid("portMappings need an ipam section: there is no address to map to")
	}
	if err := c.Ingress.Validate("ingress"); err != nil {
		return err
	}
	return c.Egress.Validate("egress")
}

// parseTrunk checks the VLANs whose tags a container sees. tag is the one that it is in without a tag. An entry may have an id, a range, or both.
func parseTrunk(list []wireTrunk, tag int) ([]link.VLANRange, error) {
	var out []link.VLANRange
	for i, w := range list {
		if (w.MinID == nil) != (w.MaxID == nil) {
			return nil, errdefs.Invalid("vlanTrunk[%d]: minID and maxID need each other", i)
		}
		for _, ends := range [][2]*int{{w.ID, w.ID}, {w.MinID, w.MaxID}} {
			if ends[0] == nil {
				continue
			}
			first, last := *ends[0], *ends[1]
			if first < 1 || last < first || last > link.MaxVLAN {
				return nil, errdefs.Invalid("vlanTrunk[%d]: %d to %d is no range of VLANs between 1 and %d", i, first, last, link.MaxVLAN)
			}
			if first <= tag && tag <= last {
				return nil, errdefs.Invalid("vlanTrunk[%d]: has VLAN %d, which vlan says comes without tags", i, tag)
			}
			out = append(out, link.VLANRange{First: uint16(first), Last: uint16(last)})
		}
	}
	return out, nil
}

// parseMAC takes the last one that is given: the capability beats the args, which beat CNI_ARGS.
func parseMAC(texts ...string) (net.HardwareAddr, error) {
	var mac net.HardwareAddr
	for _, text := range texts {
		if text == "" {
			continue
		}
		parsed, err := net.ParseMAC(text)
		if err != nil || len(parsed) != 6 || parsed[0]&1 != 0 || [6]byte(parsed) == [6]byte{} {
			return nil, errdefs.Invalid("mac %q is no Ethernet unicast address", text)
		}
		mac = parsed
	}
	return mac, nil
}
