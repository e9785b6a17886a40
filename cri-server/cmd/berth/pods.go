package main

import (
	"context"
	"slices"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// emptyPods returns the pods of berth run that have no container: what is left when a run was killed while it made them.
func (n *node) emptyPods(ctx context.Context) ([]*cri.PodSandbox, error) {
	pods, err := n.runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return nil, stage(err, "list pods")
	}
	containers, err := n.runtime.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return nil, stage(err, "list containers")
	}
	used := map[string]bool{}
	for _, c := range containers.GetContainers() {
		used[c.GetPodSandboxId()] = true
	}
	return slices.DeleteFunc(pods.GetItems(), func(p *cri.PodSandbox) bool { return !isOwn(p.GetLabels()) || used[p.GetId()] }), nil
}

// emptyPod finds the one that a person means, as container does it.
func (n *node) emptyPod(ctx context.Context, ref string) (*cri.PodSandbox, error) {
	list, err := n.emptyPods(ctx)
	if err != nil {
		return nil, err
	}
	var found *cri.PodSandbox
	for _, p := range list {
		if p.GetLabels()[labelName] != ref && !(len(ref) >= 4 && len(ref) <= len(p.GetId()) && p.GetId()[:len(ref)] == ref) {
			continue
		}
		if found != nil {
			return nil, errdefs.Invalid("find pod %s: more than one matches; give more of the ID", ref)
		}
		found = p
	}
	if found == nil {
		return nil, errdefs.NotFound("find container %s: there is none; see berth ps -a", ref)
	}
	return found, nil
}
