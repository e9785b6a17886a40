package network

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// undoTime is how long the undoing of a failed Setup may take, whatever happens to the caller's context.
const undoTime = time.Minute

// Setup attaches a pod to the pod network. On failure it detaches again what it attached; if that fails too, the error says
// so and the record stays for Teardown and GC. The errors: ErrUnavailable when there is no usable network, ErrInvalid for
// a broken configuration or request, ErrNotSupported for a need that no plugin serves, *PluginError from a plugin.
func (n *Network) Setup(ctx context.Context, a Attachment) (res Result, err error) {
	rt, err := runtimeConf(a)
	if err != nil {
		return Result{}, err
	}
	if err := n.enter(ctx); err != nil {
		return Result{}, fmt.Errorf("attach pod %s: wait for network garbage collection: %w", a.PodID, err)
	}
	defer n.leave()
	list, err := n.podNetwork(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("attach pod %s: %w", a.PodID, err)
	}
	if err := checkCapabilities(list, rt); err != nil {
		return Result{}, err
	}
	if err := n.addRanges(list, rt); err != nil {
		return Result{}, fmt.Errorf("attach pod %s to network %q: %w", a.PodID, list.Name, err)
	}
	// A missing plugin can't undo anything either: a chain that begins with one would leave the pod half attached for good.
	if err := n.findPlugins(ctx, list); err != nil {
		return Result{}, fmt.Errorf("attach pod %s to network %q: %w", a.PodID, list.Name, err)
	}
	n.setLive(a.PodID, true)
	cu := cleanup.Make(&err)
	defer cu.Clean()
	if err := n.writeRecord(newRecord(list, rt)); err != nil {
		n.setLive(a.PodID, false)
		return Result{}, err
	}
	cu.Add(func() error {
		defer n.setLive(a.PodID, false) // also when detach fails: GC may then finish it
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer cancel()
		return n.detach(ctx, a.PodID, a.Netns)
	})
	added, err := n.cni.AddNetworkList(ctx, list, rt)
	if err != nil {
		return Result{}, fmt.Errorf("attach pod %s to network %q: %w", a.PodID, list.Name, err)
	}
	if res, err = convertResult(added); err != nil {
		return Result{}, fmt.Errorf("attach pod %s to network %q: %w", a.PodID, list.Name, err)
	}
	cu.Release()
	return res, nil
}

// convertResult picks the pod's addresses out of a chain's result.
func convertResult(added types.Result) (Result, error) {
	raw, err := json.Marshal(added)
	if err != nil {
		return Result{}, fmt.Errorf("encode the result: %w", err)
	}
	newest, err := current.NewResultFromResult(added)
	if err != nil {
		return Result{}, errdefs.Invalid("read the result of the last plugin: %w", err)
	}
	res := Result{Raw: raw}
	for _, ip := range newest.IPs {
		if i := ip.Interface; i != nil && (*i < 0 || *i >= len(newest.Interfaces) || !isPodInterface(newest.Interfaces[*i])) {
			continue // an address of the host's side
		}
		addr, ok := netip.AddrFromSlice(ip.Address.IP)
		if !ok {
			return Result{}, errdefs.Invalid("read the result of the last plugin: %s is no address", ip.Address.IP)
		}
		res.IPs = append(res.IPs, addr.Unmap())
	}
	if len(res.IPs) == 0 {
		return Result{}, errdefs.Invalid("the network gave the pod no address: its plugins returned %.500s", raw)
	}
	return res, nil
}

// isPodInterface tells an interface inside the pod. Old plugins leave the sandbox out, so only a named one with another name counts
// as the host's.
func isPodInterface(i *current.Interface) bool {
	return i == nil || i.Sandbox != "" || i.Name == IfName
}
