package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// GC detaches every pod that is neither listed nor attached by this process since it started, and lets the plugins of all
// networks drop what belongs to no attachment. Call it at start, after the pods were read, and from time to time. It waits
// for the Setups and Teardowns under way, and new ones wait for it. It goes on after an error and returns all of them.
func (n *Network) GC(ctx context.Context, validPodIDs []string) error {
	if err := n.gate.Acquire(ctx, gateSize); err != nil {
		return fmt.Errorf("network garbage collection: wait for attachments under way: %w", err)
	}
	defer n.gate.Release(gateSize)
	valid := map[string]bool{}
	for _, id := range slices.Concat(validPodIDs, n.livePods()) {
		valid[id] = true
	}
	errs := []error{n.removeDrafts(), n.detachOthers(ctx, valid)}
	lists, err := n.gcNetworks()
	if err != nil {
		errs = append(errs, fmt.Errorf("network garbage collection: %w", err))
	}
	args := &libcni.GCArgs{ValidAttachments: attachments(valid)}
	for _, list := range lists {
		if err := n.cni.GCNetworkList(ctx, list, args); err != nil {
			errs = append(errs, fmt.Errorf("network garbage collection of %q: %w", list.Name, err))
		}
	}
	return errors.Join(errs...)
}

// detachOthers tears down the recorded pods that are not valid.
func (n *Network) detachOthers(ctx context.Context, valid map[string]bool) error {
	pods, err := n.recorded()
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range pods {
		if valid[id] {
			continue
		}
		r, _, err := n.readRecord(id)
		if err != nil {
			r.Netns = "" // detach reports it
		}
		errs = append(errs, n.detach(ctx, id, r.Netns))
	}
	return errors.Join(errs...)
}

// gcNetworks returns the networks to collect: those configured now and those that pods are still attached to, which may differ under
// the same name: what is on the bridge, or in the file, that the former configuration names must go too.
func (n *Network) gcNetworks() ([]*libcni.NetworkConfigList, error) {
	different := map[string]*libcni.NetworkConfigList{}
	pods, err := n.recorded()
	if err != nil {
		return nil, err
	}
	for _, id := range pods {
		r, ok, err := n.readRecord(id)
		if err != nil || !ok {
			continue // reported by detachOthers, or gone
		}
		if list, err := r.list(); err == nil {
			different[identity(list)] = list
		}
	}
	lists, err := n.networks()
	for _, list := range lists {
		different[identity(list)] = list
	}
	return slices.Collect(maps.Values(different)), err
}

// identity is the same for networks that do the same.
func identity(list *libcni.NetworkConfigList) string {
	parts := []string{list.Name, list.CNIVersion}
	for _, p := range list.Plugins {
		parts = append(parts, string(p.Bytes))
	}
	return strings.Join(parts, "\n")
}

func attachments(valid map[string]bool) []types.GCAttachment {
	list := make([]types.GCAttachment, 0, len(valid)) // never nil: an empty list frees everything, a missing one is refused
	for _, id := range slices.Sorted(maps.Keys(valid)) {
		list = append(list, types.GCAttachment{ContainerID: id, IfName: IfName})
	}
	return list
}
