package link

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// groupIfb marks the links that AddIfb made.
const groupIfb = 0x62727403

// ifbPrefix begins their names, as it does with the CNI project's bandwidth plugin.
const ifbPrefix = "bwp"

const ifbLetters = 8

// IfbName is the name of the link through which goes what an attachment sends; see [HostName].
func IfbName(network, containerID, ifName string) string {
	return ifbNetwork(network) + hash(containerID+"/"+ifName, ifbLetters)
}

func ifbNetwork(network string) string { return ifbPrefix + hash(network, networkLetters) }

// AddIfb makes an intermediate functional block: what is redirected to it is queued like what a link sends, and then goes on as if received.
// One that an ADD left is made anew.
func AddIfb(h *netlink.Handle, name string, mtu int) (netlink.Link, error) {
	if err := Remove(h, name); err != nil {
		return nil, err
	}
	err := h.LinkAdd(&netlink.Ifb{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu, Group: groupIfb, Flags: net.FlagUp, TxQLen: -1}})
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return nil, errdefs.NotSupported("limit what a container sends: this kernel has no ifb links (module ifb): %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("make link %s: %w", name, err)
	}
	l, err := find(h, name)
	if err != nil {
		return nil, errors.Join(err, Remove(h, name))
	}
	return l, nil
}

// ReapIfbs deletes the ifb links of a network that have none of the wanted names, and what is condemned, as [Reap] does.
func ReapIfbs(h *netlink.Handle, network string, wanted []string) error {
	return reap(h, func(l netlink.Link) bool {
		a := l.Attrs()
		return l.Type() == "ifb" && a.Group == groupIfb && strings.HasPrefix(a.Name, ifbNetwork(network)) && !slices.Contains(wanted, a.Name)
	})
}
