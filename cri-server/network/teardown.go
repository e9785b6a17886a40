package network

import (
	"context"
	"fmt"

	"github.com/containernetworking/cni/libcni"
)

// Teardown detaches a pod. It is idempotent: a pod that is not attached, a namespace that is gone and a network whose
// configuration changed or vanished are no errors. When it returns an error, the record stays, and it can be called again.
func (n *Network) Teardown(ctx context.Context, a Attachment) error {
	if err := n.enter(ctx); err != nil {
		return fmt.Errorf("detach pod %s: wait for network garbage collection: %w", a.PodID, err)
	}
	defer n.leave()
	return n.detach(ctx, a.PodID, a.Netns)
}

// detach runs DEL with the record of the pod.
func (n *Network) detach(ctx context.Context, podID, netns string) error {
	r, ok, err := n.readRecord(podID)
	if err != nil {
		return n.detachUnreadable(ctx, podID, netns, err)
	}
	if !ok {
		n.setLive(podID, false)
		return nil
	}
	list, err := r.list()
	if err != nil {
		return fmt.Errorf("detach pod %s: %w", podID, err)
	}
	if err := n.del(ctx, list, r.runtimeConf(netns)); err != nil {
		return err
	}
	if err := n.removeRecord(podID); err != nil {
		return err
	}
	n.setLive(podID, false)
	return nil
}

// detachUnreadable handles a record that is broken: the configuration of now is the best guess that is left. The record
// goes only when that worked.
func (n *Network) detachUnreadable(ctx context.Context, podID, netns string, cause error) error {
	n.conf.Logger.WarnContext(ctx, "attachment record is unreadable; detach with the current configuration", "pod", podID, "err", cause)
	rt, err := runtimeConf(Attachment{PodID: podID, Netns: netns})
	if err != nil {
		return err
	}
	list, err := n.podNetwork(ctx)
	if err != nil {
		return fmt.Errorf("detach pod %s, whose record is unreadable (%w): %w", podID, cause, err)
	}
	if err := n.del(ctx, list, rt); err != nil {
		return err
	}
	if err := n.removeRecord(podID); err != nil {
		return err
	}
	n.setLive(podID, false)
	return nil
}

func (n *Network) del(ctx context.Context, list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) error {
	if err := n.cni.DelNetworkList(ctx, list, rt); err != nil {
		return fmt.Errorf("detach pod %s from network %q: %w", rt.ContainerID, list.Name, err)
	}
	return nil
}
