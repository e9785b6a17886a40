package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"

	"github.com/berth-runtime/berth/internal/atomicfile"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const choiceMax = 64 << 10

// choice is what was decided for the built-in network on this node. It is kept, so that the network does not move when its own
// routes exist.
type choice struct {
	Subnets []netip.Prefix `json:"subnets"`            // at most one of each family
	PodCIDR bool           `json:"pod_cidr,omitempty"` // given by the kubelet, not chosen here
}

func (c choice) validate() error {
	if len(c.Subnets) == 0 || len(c.Subnets) > 2 || len(c.Subnets) == 2 && c.Subnets[0].Addr().Is4() == c.Subnets[1].Addr().Is4() {
		return fmt.Errorf("it must hold one subnet, or one of each address family, not %v", c.Subnets)
	}
	for _, s := range c.Subnets {
		if !s.IsValid() || s != s.Masked() || s.Addr().BitLen()-s.Bits() < 2 {
			return fmt.Errorf("%s is no subnet with room for a gateway and a pod", s)
		}
	}
	return nil
}

func (c *Config) checkDefaultNetwork() error {
	for _, s := range c.DefaultSubnets {
		prefix, err := netip.ParsePrefix(s)
		if err == nil {
			err = choice{Subnets: []netip.Prefix{prefix}}.validate()
		}
		if err != nil {
			return errdefs.Invalid("open network: default subnet %q: %w", s, err)
		}
	}
	return nil
}

// builtinSubnets lists private ranges that few others use, in the order in which they are tried.
func builtinSubnets() []string {
	var list []string
	for i := 77; i < 128; i++ {
		list = append(list, fmt.Sprintf("10.%d.0.0/16", i))
	}
	for i := 20; i < 32; i++ {
		list = append(list, fmt.Sprintf("172.%d.0.0/16", i))
	}
	for i := 77; i < 128; i++ {
		list = append(list, fmt.Sprintf("192.168.%d.0/24", i))
	}
	return list
}

// defaultNetwork returns the built-in network, and chooses its subnet when that was not done before.
func (n *Network) defaultNetwork(ctx context.Context) (*libcni.NetworkConfigList, error) {
	list, err := n.chosenDefault()
	if err != nil || list != nil {
		return list, err
	}
	taken, err := takenSubnets(n.bridge())
	if err != nil {
		return nil, fmt.Errorf("choose a subnet for the default network: %w", err)
	}
	subnet, err := pickSubnet(n.conf.DefaultSubnets, taken)
	if err != nil {
		return nil, err
	}
	c := choice{Subnets: []netip.Prefix{subnet}}
	if err := n.writeChoice(c); err != nil {
		return nil, err
	}
	n.conf.Logger.InfoContext(ctx, "default network is used", "network", n.conf.DefaultName, "bridge", n.bridge(), "subnet", subnet)
	return n.buildDefault(c)
}

// pickSubnet returns the subnet that the bridge has already, else the first candidate that overlaps nothing.
func pickSubnet(candidates []string, taken subnets) (netip.Prefix, error) {
	if taken.ownBridge.IsValid() {
		return taken.ownBridge, nil
	}
	for _, text := range candidates {
		candidate, err := netip.ParsePrefix(text)
		if err != nil {
			return netip.Prefix{}, errdefs.Bug("default subnet %q was not checked: %w", text, err)
		}
		if !taken.overlaps(candidate) {
			return candidate, nil
		}
	}
	return netip.Prefix{}, errdefs.Unavailable("choose a subnet for the default network: this node has routes to all %d candidates; configure a CNI network", len(candidates))
}

func (n *Network) bridge() string     { return n.conf.DefaultName + "0" }
func (n *Network) choicePath() string { return filepath.Join(n.conf.CacheDir, "default-network.json") }

// chosenDefault returns the built-in network if it was used on this node since boot, else nil.
func (n *Network) chosenDefault() (*libcni.NetworkConfigList, error) {
	c, ok, err := n.readChoice()
	if err != nil || !ok {
		return nil, err
	}
	return n.buildDefault(c)
}

// readChoice returns what was decided for this node; ok is false if nothing was.
func (n *Network) readChoice() (c choice, ok bool, err error) {
	info, err := os.Stat(n.choicePath())
	if errors.Is(err, fs.ErrNotExist) {
		return choice{}, false, nil
	}
	if err == nil && info.Size() > choiceMax {
		err = errdefs.New(errdefs.ErrDataLoss, "%s has %d bytes", n.choicePath(), info.Size())
	}
	if err != nil {
		return choice{}, false, fmt.Errorf("read default network: %w", err)
	}
	data, err := os.ReadFile(n.choicePath())
	if err != nil {
		return choice{}, false, fmt.Errorf("read default network: %w", err)
	}
	if c, err = decodeChoice(data); err != nil {
		return choice{}, false, errdefs.New(errdefs.ErrDataLoss, "read default network: %s: %w; remove the file to choose again", n.choicePath(), err)
	}
	return c, true, nil
}

func decodeChoice(data []byte) (choice, error) {
	var c choice
	if err := json.Unmarshal(data, &c); err != nil {
		return choice{}, err
	}
	return c, c.validate()
}

func (n *Network) writeChoice(c choice) error {
	data, err := json.Marshal(c)
	if err != nil {
		return errdefs.Bug("encode default network: %w", err)
	}
	if err := atomicfile.Write(n.choicePath(), data, 0o600); err != nil {
		return fmt.Errorf("record default network: %w", err)
	}
	return nil
}

// buildDefault is the configuration of the built-in network, all of whose parts are berth's own plugins.
func (n *Network) buildDefault(c choice) (*libcni.NetworkConfigList, error) {
	type object = map[string]any
	var ranges, routes []any
	for _, s := range c.Subnets {
		ranges = append(ranges, []any{object{"subnet": s.String()}})
		anywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if s.Addr().Is6() {
			anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		routes = append(routes, object{"dst": anywhere.String()})
	}
	data, err := json.Marshal(object{
		"cniVersion": "1.1.0",
		"name":       n.conf.DefaultName,
		"plugins": []any{object{
			"type": "bridge", "bridge": n.bridge(), "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
			"capabilities": object{"portMappings": true, "bandwidth": true},
			"ipam": object{
				"type": "host-local", "dataDir": filepath.Join(n.conf.CacheDir, "ipam"), "ranges": ranges, "routes": routes,
			},
		}},
	})
	if err != nil {
		return nil, errdefs.Bug("encode default network: %w", err)
	}
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return nil, errdefs.Bug("read default network: %w", err)
	}
	return list, nil
}
