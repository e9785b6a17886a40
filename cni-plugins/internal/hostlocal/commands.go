package hostlocal

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-runtime/berth/cni-plugins/internal/alloc"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Commands are the plugin, for its own program and for those that run it in-process.
func Commands() plugin.Commands {
	return plugin.Commands{
		Name: "host-local", About: "hands out addresses from ranges that belong to this node alone",
		Keys: plugin.Keys(wireIPAM{}), Section: "ipam",
		Add: Add, Del: Del, Check: Check, GC: GC, Status: Status,
	}
}

// Add assigns one address of each range set.
func Add(r *plugin.Request) (*current.Result, error) {
	c, store, err := open(r)
	if err != nil {
		return nil, err
	}
	if len(c.Pool.Sets) == 0 {
		return nil, noRanges()
	}
	result := &current.Result{Routes: c.Routes}
	if c.ResolvConf != "" {
		if result.DNS, err = readResolvConf(c.ResolvConf); err != nil {
			return nil, err
		}
	}
	entry := alloc.Entry{Owner: owner(r), Netns: r.Netns, Pod: podKey(r)}
	if entry.NS, err = identify(r); err != nil {
		return nil, err
	}
	given, err := store.Assign(c.Pool, c.Want, entry)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", r.Config.Name, err)
	}
	for _, a := range given {
		result.IPs = append(result.IPs, &current.IPConfig{
			Address: net.IPNet{IP: a.Addr.AsSlice(), Mask: net.CIDRMask(a.Range.Subnet.Bits(), a.Addr.BitLen())},
			Gateway: a.Range.Gateway.AsSlice(),
		})
	}
	return result, nil
}

// Del frees the addresses of the attachment. It is idempotent, and does not care whether ADD would take the configuration.
func Del(r *plugin.Request) error {
	dataDir, formerDir := folders(r.Config.Raw)
	store, err := alloc.Open(dataDir, formerDir, r.Config.Name)
	if err != nil {
		return err
	}
	return store.Release(owner(r))
}

// Check finds out whether the attachment still has the addresses that ADD gave it.
func Check(r *plugin.Request) error {
	_, store, err := open(r)
	if err != nil {
		return err
	}
	have, err := store.Of(owner(r))
	if err != nil {
		return err
	}
	if len(have) == 0 {
		return plugin.Mismatch("network %s: interface %s of container %s has no address reserved", r.Config.Name, r.IfName, r.ContainerID)
	}
	for _, a := range have {
		if !slices.ContainsFunc(r.Config.Prev.IPs, func(ip *current.IPConfig) bool { return sameAddr(ip, a) }) {
			return plugin.Mismatch("network %s: %s is reserved for container %s, but is not in prevResult", r.Config.Name, a, r.ContainerID)
		}
	}
	return nil
}

// GC frees what belongs to no valid attachment.
func GC(r *plugin.Request) error {
	c, store, err := open(r)
	if err != nil {
		return err
	}
	valid := make(map[alloc.Owner]bool, len(r.Config.Valid))
	for _, a := range r.Config.Valid {
		valid[alloc.Owner{ContainerID: a.ContainerID, IfName: a.IfName}] = true
	}
	return store.GC(valid, c.Pool.Cooldown)
}

// Status tells whether another attachment would get its addresses.
func Status(r *plugin.Request) error {
	c, store, err := open(r)
	if err != nil {
		return err
	}
	if len(c.Pool.Sets) == 0 && !c.ByRuntime {
		return noRanges()
	}
	if err := store.Free(c.Pool); err != nil {
		return errdefs.New(errdefs.ErrUnavailable, "network %s: %w", r.Config.Name, err)
	}
	return nil
}

func noRanges() error {
	return errdefs.Invalid("ipam: no address ranges are given: name some in ranges, or have the runtime do it (capability ipRanges)")
}

func open(r *plugin.Request) (Config, *alloc.Store, error) {
	c, err := ParseConfig(r.Config.Raw, r.Args)
	if err != nil {
		return Config{}, nil, err
	}
	store, err := alloc.Open(c.DataDir, c.FormerDir, r.Config.Name)
	return c, store, err
}

func owner(r *plugin.Request) alloc.Owner {
	return alloc.Owner{ContainerID: r.ContainerID, IfName: r.IfName}
}

// podKey stands for one interface of the pod that CNI_ARGS name, which is the same when the pod is made anew; "" if they name none.
// The names themselves may be longer than the store has room for.
func podKey(r *plugin.Request) string {
	namespace, name := r.Args["K8S_POD_NAMESPACE"], r.Args["K8S_POD_NAME"]
	if namespace == "" || name == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(namespace + "/" + name + "/" + r.IfName))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// identify says which namespace the container's is.
func identify(r *plugin.Request) (ns alloc.NS, err error) {
	if r.NS == nil {
		return alloc.NS{}, nil
	}
	if ns.Inode, err = r.NS.Inode(); err != nil {
		return alloc.NS{}, err
	}
	ns.Cookie, err = r.NS.Cookie()
	if errors.Is(err, syscall.ENOPROTOOPT) { // before Linux 5.14
		return ns, nil
	}
	return ns, err
}

func sameAddr(ip *current.IPConfig, a netip.Addr) bool {
	b, ok := netip.AddrFromSlice(ip.Address.IP)
	return ok && b.Unmap() == a
}
