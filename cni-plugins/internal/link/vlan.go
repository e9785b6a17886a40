package link

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/sysctl"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// VLANs say which VLANs (IEEE 802.1Q) a port of a bridge is in. The zero value is a port of a bridge that knows none.
type VLANs struct {
	Tag         int         // of what the container sends and gets without a tag; 0 = the bridge's default
	Trunk       []VLANRange // passed on with their tags
	DropDefault bool        // the port leaves the bridge's default VLAN
}

// VLANRange is the VLANs from First to Last.
type VLANRange struct{ First, Last uint16 }

// MaxVLAN is the highest number of a VLAN; 4095 is reserved.
const MaxVLAN = 4094

// Filter tells whether the bridge must keep VLANs apart.
func (v VLANs) Filter() bool { return v.Tag != 0 || len(v.Trunk) > 0 }

// defaultVLAN is that of ports which nobody put into another (IFLA_BR_VLAN_DEFAULT_PVID).
const defaultVLAN = 1

// join puts a port into its VLANs.
func (v VLANs) join(h *netlink.Handle, port netlink.Link) error {
	if !v.Filter() {
		return nil
	}
	var errs []error
	if v.DropDefault {
		errs = append(errs, h.BridgeVlanDel(port, defaultVLAN, true, true, false, true))
	}
	if v.Tag != 0 {
		errs = append(errs, h.BridgeVlanAdd(port, uint16(v.Tag), true, true, false, true))
	}
	for _, r := range v.Trunk {
		if r.First == r.Last { // the kernel takes no range of one
			errs = append(errs, h.BridgeVlanAdd(port, r.First, false, false, false, true))
		} else {
			errs = append(errs, h.BridgeVlanAddRange(port, r.First, r.Last, false, false, false, true))
		}
	}
	if err := errors.Join(errs...); errors.Is(err, syscall.EOPNOTSUPP) {
		return errdefs.New(errdefs.ErrNotSupported, "vlan: bridges of this kernel have no VLANs (CONFIG_BRIDGE_VLAN_FILTERING)")
	} else if err != nil {
		return fmt.Errorf("put bridge port %s into its VLANs: %w", port.Attrs().Name, err)
	}
	return nil
}

// Joined tells whether a port is in all its VLANs.
func (v VLANs) Joined(h *netlink.Handle, port netlink.Link) (bool, error) {
	if !v.Filter() {
		return true, nil
	}
	all, err := h.BridgeVlanList()
	if err != nil {
		return false, fmt.Errorf("list VLANs of bridge port %s: %w", port.Attrs().Name, err)
	}
	in := map[uint16]bool{}
	for _, info := range all[int32(port.Attrs().Index)] {
		in[info.Vid] = true
	}
	if v.Tag != 0 && !in[uint16(v.Tag)] {
		return false, nil
	}
	for _, r := range v.Trunk {
		for id := r.First; id <= r.Last; id++ {
			if !in[id] {
				return false, nil
			}
		}
	}
	return true, nil
}

// GatewayName names the link of the host that is in a VLAN of a bridge: the bridge itself without one.
func GatewayName(bridge string, tag int) string {
	if tag == 0 {
		return bridge
	}
	return fmt.Sprintf("%s.%d", bridge, tag)
}

// gatewayPort names the port of the bridge that leads to a VLAN's gateway.
func gatewayPort(bridge string, tag int) string {
	return "vlan" + hash(GatewayName(bridge, tag), networkLetters+attachmentLetters)
}

// ensureVLANGateway makes the host's link into a VLAN of the bridge: a pair of links of which one is a port. (The bridge's own
// interface could be in the VLAN too, but would need the module 8021q to tell the VLANs of several networks apart.)
func ensureVLANGateway(h *netlink.Handle, br *netlink.Bridge, tag int) (netlink.Link, error) {
	name, port := GatewayName(br.Name, tag), gatewayPort(br.Name, tag)
	if l, err := find(h, name); !errors.Is(err, errdefs.ErrNotFound) {
		return l, err
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port, MTU: br.MTU, MasterIndex: br.Index, Group: groupBridge, Flags: net.FlagUp, TxQLen: -1},
		PeerName:  name,
	}
	if err := h.LinkAdd(pair); err != nil && !errors.Is(err, syscall.EEXIST) { // EEXIST: another ADD was faster
		return nil, fmt.Errorf("make gateway link %s: %w", name, err)
	}
	portLink, err := find(h, port)
	if err != nil {
		return nil, err
	}
	if err := (VLANs{Tag: tag, DropDefault: tag != defaultVLAN}).join(h, portLink); err != nil {
		return nil, errors.Join(err, Remove(h, port))
	}
	l, err := find(h, name)
	if err != nil {
		return nil, err
	}
	// Router advertisements from a pod must not change the node's routes (CVE-2020-10749).
	if err := sysctl.SetIfPresent("0", "ipv6", "conf", name, "accept_ra"); err != nil {
		return nil, err
	}
	if err := h.LinkSetUp(l); err != nil {
		return nil, fmt.Errorf("set gateway link %s up: %w", name, err)
	}
	return l, nil
}
