package hostlocal

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/cni-plugins/internal/alloc"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	// DefaultDataDir is on a file system that a reboot empties, as the allocations are void then.
	DefaultDataDir = "/run/berth/cni/ipam"

	// formerDataDir is that of the CNI project's host-local; what it has recorded is taken over.
	formerDataDir = "/var/lib/cni/networks"
)

const (
	rangesMax   = 1024             // in one configuration, the checks of which are quadratic
	excludeMax  = 1024             // each is compared with each address that is looked at
	cooldownMax = 7 * 24 * 60 * 60 // seconds
)

// Config is a checked configuration.
type Config struct {
	DataDir    string
	FormerDir  string     // where the CNI project's host-local would have its files
	ResolvConf string     // "" = none
	Pool       alloc.Pool // without sets if neither the configuration nor the runtime names ranges
	ByRuntime  bool       // the runtime names ranges with ADD
	Routes     []*types.Route
	Want       []netip.Addr // asked for by CNI_ARGS, args or the ips capability
}

type wireRange struct {
	Subnet     string `json:"subnet"`
	RangeStart string `json:"rangeStart"`
	RangeEnd   string `json:"rangeEnd"`
	Gateway    string `json:"gateway"`
}

type wireIPAM struct {
	wireRange
	Routes     []*types.Route `json:"routes"`
	DataDir    string         `json:"dataDir"`
	ResolvConf string         `json:"resolvConf"`
	Ranges     [][]wireRange  `json:"ranges"`
	Exclude    []string       `json:"exclude"`
	Cooldown   int64          `json:"cooldown"`
}

type wireConfig struct {
	IPAM         *wireIPAM `json:"ipam"`
	Capabilities struct {
		IPRanges bool `json:"ipRanges"`
	} `json:"capabilities"`
	RuntimeConfig struct {
		IPRanges [][]wireRange `json:"ipRanges"`
		IPs      []string      `json:"ips"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			IPs []string `json:"ips"`
		} `json:"cni"`
	} `json:"args"`
}

// ParseConfig decodes and checks a network configuration with an ipam section, and the addresses that CNI_ARGS ask for. It is
// pure. Keys that it does not know are ignored, as the section may hold those of other tools.
func ParseConfig(data []byte, args map[string]string) (Config, error) {
	var w wireConfig
	if err := json.Unmarshal(data, &w); err != nil {
		return Config{}, plugin.WithCode(types.ErrDecodingFailure, errdefs.Invalid("parse the ipam configuration: %w", err))
	}
	if w.IPAM == nil {
		return Config{}, errdefs.Invalid("the configuration has no ipam section")
	}
	c := Config{
		DataDir: w.IPAM.DataDir, FormerDir: w.IPAM.DataDir, ResolvConf: w.IPAM.ResolvConf, Routes: w.IPAM.Routes,
		ByRuntime: w.Capabilities.IPRanges,
	}
	if c.DataDir == "" {
		c.DataDir, c.FormerDir = DefaultDataDir, formerDataDir
	}
	if !filepath.IsAbs(c.DataDir) || c.ResolvConf != "" && !filepath.IsAbs(c.ResolvConf) {
		return Config{}, errdefs.Invalid("ipam: dataDir %q and resolvConf %q must be absolute paths", c.DataDir, c.ResolvConf)
	}
	for _, r := range c.Routes {
		if err := checkRoute(r); err != nil {
			return Config{}, err
		}
	}
	var err error
	if c.Pool, err = parsePool(w); err != nil {
		return Config{}, err
	}
	c.Want, err = parseWanted(w, args)
	return c, err
}

// folders reads only where the records are. A folder that ADD refuses holds none; the usual one is as good then.
func folders(data []byte) (dataDir, formerDir string) {
	var w struct {
		IPAM struct {
			DataDir string `json:"dataDir"`
		} `json:"ipam"`
	}
	if err := json.Unmarshal(data, &w); err != nil || !filepath.IsAbs(w.IPAM.DataDir) {
		return DefaultDataDir, formerDataDir
	}
	return w.IPAM.DataDir, w.IPAM.DataDir
}

func checkRoute(r *types.Route) error {
	switch {
	case r == nil || r.Dst.IP == nil:
		return errdefs.Invalid("ipam: a route has no dst")
	case r.GW != nil && (r.GW.To4() == nil) != (r.Dst.IP.To4() == nil):
		return errdefs.Invalid("ipam: the route to %s has gw %s, which is of the other family", &r.Dst, r.GW)
	}
	if err := plugin.CheckRoute(r); err != nil {
		return fmt.Errorf("ipam: %w", err)
	}
	return nil
}

// parsePool also refuses ranges without any address that could be given.
func parsePool(w wireConfig) (alloc.Pool, error) {
	sets, err := parseSets(w)
	if err != nil {
		return alloc.Pool{}, err
	}
	p := alloc.Pool{Sets: sets, Cooldown: time.Duration(w.IPAM.Cooldown) * time.Second}
	if w.IPAM.Cooldown < 0 || w.IPAM.Cooldown > cooldownMax {
		return alloc.Pool{}, errdefs.Invalid("ipam: cooldown %d is not between 0 and %d seconds", w.IPAM.Cooldown, cooldownMax)
	}
	if p.Exclude, err = parseExclude(w.IPAM.Exclude); err != nil {
		return alloc.Pool{}, err
	}
	return p, p.Check()
}

func parseExclude(texts []string) ([]netip.Prefix, error) {
	if len(texts) > excludeMax {
		return nil, errdefs.Invalid("ipam: exclude names %d blocks, at most %d are taken", len(texts), excludeMax)
	}
	var blocks []netip.Prefix
	for _, text := range texts {
		block, err := netip.ParsePrefix(text)
		if a, addrErr := netip.ParseAddr(text); addrErr == nil && a.Zone() == "" {
			block, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		switch {
		case err != nil:
			return nil, errdefs.Invalid("ipam: exclude: %.80q is neither an address without a zone nor a subnet", text)
		case block.Addr().Is4In6():
			return nil, errdefs.Invalid("ipam: exclude: %.80q is an IPv4 address in IPv6 notation", text)
		case block != block.Masked():
			return nil, errdefs.Invalid("ipam: exclude: %s has host bits set; its network address is %s", block, block.Masked())
		}
		blocks = append(blocks, block)
	}
	return blocks, nil
}

// parseSets joins the ranges of the capability, of the old-style single range and of the list, in that order.
func parseSets(w wireConfig) ([]alloc.Set, error) {
	lists := slices.Clone(w.RuntimeConfig.IPRanges)
	if w.IPAM.Subnet != "" {
		lists = append(lists, []wireRange{w.IPAM.wireRange})
	}
	lists = append(lists, w.IPAM.Ranges...)
	if len(lists) == 0 {
		return nil, nil // which ADD and STATUS judge
	}
	total := 0
	var sets []alloc.Set
	for _, list := range lists {
		if total += len(list); total > rangesMax {
			return nil, errdefs.Invalid("ipam: more than %d ranges are given", rangesMax)
		}
		var set alloc.Set
		for _, wr := range list {
			r, err := parseRange(wr)
			if err != nil {
				return nil, errdefs.Invalid("ipam: %w", err)
			}
			set = append(set, r)
		}
		sets = append(sets, set)
	}
	if err := alloc.CheckSets(sets); err != nil {
		return nil, errdefs.Invalid("ipam: %w", err)
	}
	return sets, nil
}

func parseRange(w wireRange) (alloc.Range, error) {
	subnet, err := netip.ParsePrefix(w.Subnet)
	if err != nil {
		return alloc.Range{}, errdefs.Invalid("subnet: %w", err)
	}
	if subnet.Addr().Is4In6() {
		return alloc.Range{}, errdefs.Invalid("subnet %s is an IPv4 subnet in IPv6 notation", subnet)
	}
	var addrs [3]netip.Addr
	for i, text := range []string{w.RangeStart, w.RangeEnd, w.Gateway} {
		if text == "" {
			continue
		}
		a, err := netip.ParseAddr(text)
		if err != nil {
			return alloc.Range{}, errdefs.Invalid("range of subnet %s: %w", subnet, err)
		}
		addrs[i] = a.Unmap()
	}
	r, err := alloc.NewRange(subnet, addrs[0], addrs[1], addrs[2])
	if err != nil {
		return alloc.Range{}, err
	}
	for _, part := range []struct {
		key  string
		addr netip.Addr
	}{{"subnet", subnet.Addr()}, {"rangeStart", r.First}, {"rangeEnd", r.Last}, {"gateway", r.Gateway}} {
		if kind := unfit(part.addr, part.key == "subnet"); kind != "" {
			return alloc.Range{}, errdefs.Invalid("%s %s: %s", part.key, part.addr, kind)
		}
	}
	return r, nil
}

// unfit says why an address can't be on a link between container and node, "" if it can. A subnet may begin with the unspecified address.
func unfit(a netip.Addr, subnet bool) string {
	switch {
	case a.IsLoopback():
		return "loopback addresses never leave their host"
	case a.IsMulticast():
		return "multicast addresses belong to groups"
	case a.IsUnspecified() && !subnet:
		return "the unspecified address belongs to nobody"
	}
	return ""
}

// parseWanted collects the addresses that were asked for, each once. They may carry a prefix length, which the range knows better.
func parseWanted(w wireConfig, args map[string]string) ([]netip.Addr, error) {
	texts := slices.Concat(w.Args.CNI.IPs, w.RuntimeConfig.IPs)
	if ip := args["IP"]; ip != "" {
		texts = append([]string{ip}, texts...)
	}
	var want []netip.Addr
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if p, prefixErr := netip.ParsePrefix(text); prefixErr == nil {
			a, err = p.Addr(), nil
		}
		if err != nil {
			return nil, errdefs.Invalid("ipam: requested address: %w", err)
		}
		if a = a.Unmap(); a.Zone() != "" {
			return nil, errdefs.Invalid("ipam: requested address %s has a zone", a)
		}
		if !slices.Contains(want, a) {
			want = append(want, a)
		}
	}
	return want, nil
}
