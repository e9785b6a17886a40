package network

import (
	"context"
	"errors"
	"fmt"
)

// repairVariable asks berth's plugins to put back what of an attachment's firewall is gone before they check it.
const repairVariable = "BERTH_CNI_REPAIR=1"

// Repair puts back what others took of the firewall rules of attached pods: after `nft flush ruleset` and the like. It runs CHECK
// for each pod with the network that it was attached with; plugins other than berth's only say what is missing. It runs alone,
// as GC does. It goes on after an error and returns all of them.
func (n *Network) Repair(ctx context.Context) error {
	if err := n.gate.Acquire(ctx, gateSize); err != nil {
		return fmt.Errorf("repair networks: wait for attachments under way: %w", err)
	}
	defer n.gate.Release(gateSize)
	pods, err := n.recorded()
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range pods {
		if err := n.repairPod(ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("repair the network of pod %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

func (n *Network) repairPod(ctx context.Context, podID string) error {
	r, ok, err := n.readRecord(podID)
	if err != nil || !ok {
		return err
	}
	list, err := r.list()
	if err != nil {
		return err
	}
	rt := r.runtimeConf(r.Netns)
	cached, err := n.cni.GetNetworkListCachedResult(list, rt)
	if err != nil || cached == nil {
		return err // an attachment that was not finished: it is torn down
	}
	return n.repairs.CheckNetworkList(ctx, list, rt)
}
