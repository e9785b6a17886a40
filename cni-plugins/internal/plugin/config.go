package plugin

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/containernetworking/cni/pkg/utils"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Attachment names one interface of one container; GC gets the list of those that are to stay.
type Attachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// Config is what every plugin reads from its configuration. Raw is all of it.
type Config struct {
	CNIVersion string
	Name       string
	Type       string
	IPAMType   string          // "" = none
	Prev       *current.Result // result of the plugins before, nil if there is none
	Valid      []Attachment    // GC only
	Raw        []byte
}

type wireConfig struct {
	CNIVersion string          `json:"cniVersion"`
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	IPAM       *wireIPAM       `json:"ipam"`
	PrevResult json.RawMessage `json:"prevResult"`
	Valid      json.RawMessage `json:"cni.dev/valid-attachments"`
	ValidOld   json.RawMessage `json:"cni.dev/attachments"` // the name in early releases of libcni 1.2
}

type wireIPAM struct {
	Type string `json:"type"`
}

// ParseConfig decodes and checks the configuration for a command. It is pure.
func ParseConfig(command string, data []byte) (Config, error) {
	var w wireConfig
	if err := json.Unmarshal(data, &w); err != nil {
		return Config{}, WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse the network configuration: %w", err))
	}
	c := Config{CNIVersion: w.CNIVersion, Name: w.Name, Type: w.Type, Raw: data}
	if c.CNIVersion == "" {
		c.CNIVersion = "0.1.0" // what the specification says of a missing version
	}
	if err := checkVersion(command, c.CNIVersion); err != nil {
		return Config{}, err
	}
	if command == "VERSION" {
		return c, nil
	}
	if err := utils.ValidateNetworkName(c.Name); err != nil {
		return Config{}, WithCode(err.Code, errdefs.Invalid("network name %q: %s", c.Name, err.Msg))
	}
	if w.IPAM != nil {
		c.IPAMType = w.IPAM.Type
	}
	if command == "GC" {
		return parseValid(c, w)
	}
	prev, err := parsePrev(c.CNIVersion, w.PrevResult)
	if err != nil && command != "DEL" { // DEL does what it can
		return Config{}, WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse prevResult: %w", err))
	}
	c.Prev = prev
	return c, nil
}

// checkVersion refuses versions that are unknown and those that do not have the command yet.
func checkVersion(command, v string) error {
	known := false
	for _, s := range version.All.SupportedVersions() {
		known = known || s == v
	}
	if !known {
		if command == "VERSION" {
			return nil // the answer tells the caller what it may use
		}
		return WithCode(types.ErrIncompatibleCNIVersion, errdefs.NotSupported("cniVersion %q is not one of %v", v, version.All.SupportedVersions()))
	}
	since := map[string]string{"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}[command]
	if since == "" {
		return nil
	}
	if ok, err := version.GreaterThanOrEqualTo(v, since); err != nil || !ok {
		return WithCode(types.ErrIncompatibleCNIVersion, errdefs.NotSupported("%s needs cniVersion %s, the configuration says %s", command, since, v))
	}
	return nil
}

// parseValid decodes the attachments that are to stay. A missing list is refused; null is how runtimes in Go write an empty one.
func parseValid(c Config, w wireConfig) (Config, error) {
	raw := w.Valid
	if raw == nil {
		raw = w.ValidOld
	}
	if raw == nil {
		return Config{}, WithCode(types.ErrInvalidNetworkConfig, errdefs.Invalid("GC without cni.dev/valid-attachments: it would free everything in use"))
	}
	if err := json.Unmarshal(raw, &c.Valid); err != nil {
		return Config{}, WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse cni.dev/valid-attachments: %w", err))
	}
	for _, a := range c.Valid {
		if a.ContainerID == "" || a.IfName == "" {
			return Config{}, WithCode(types.ErrInvalidNetworkConfig, errdefs.Invalid("GC: a valid attachment lacks its containerID or ifname"))
		}
	}
	return c, nil
}

// parsePrev decodes a result; nil for none. One that does not name its version has that of the configuration, as libcni
// reads it too.
func parsePrev(v string, data json.RawMessage) (*current.Result, error) {
	if len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	var own map[string]json.RawMessage
	if err := json.Unmarshal(data, &own); err != nil {
		return nil, err
	}
	var named string
	if raw, ok := own["cniVersion"]; ok {
		if err := json.Unmarshal(raw, &named); err != nil {
			return nil, err
		}
	}
	if named == "" {
		if own == nil {
			own = map[string]json.RawMessage{}
		}
		own["cniVersion"] = json.RawMessage(strconv.Quote(v))
		var err error
		if data, err = json.Marshal(own); err != nil {
			return nil, err
		}
	} else {
		v = named
	}
	old, err := create.Create(v, data)
	if err != nil {
		return nil, err
	}
	r, err := current.NewResultFromResult(old)
	if err != nil {
		return nil, err
	}
	return r, checkResult(r)
}

// checkResult refuses results whose parts do not fit together, so that nobody needs to check an index or a nil again.
func checkResult(r *current.Result) error {
	for i, link := range r.Interfaces {
		if link == nil {
			return fmt.Errorf("interface %d is null", i)
		}
	}
	for i, ip := range r.IPs {
		if ip == nil || ip.Address.IP == nil {
			return fmt.Errorf("address %d is null", i)
		}
		if n := ip.Interface; n != nil && (*n < 0 || *n >= len(r.Interfaces)) {
			return fmt.Errorf("address %s is on interface %d of %d", ip.Address.String(), *n, len(r.Interfaces))
		}
	}
	for i, route := range r.Routes {
		if route == nil || route.Dst.IP == nil {
			return fmt.Errorf("route %d is null", i)
		}
	}
	return nil
}

// ParseResult decodes and checks the result of another plugin. version is what to assume if it names none.
func ParseResult(version string, data []byte) (*current.Result, error) {
	r, err := parsePrev(version, data)
	if err == nil && r == nil {
		err = errdefs.Invalid("it is empty")
	}
	if err != nil {
		return nil, WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse the result of a plugin: %w", err))
	}
	return r, nil
}
