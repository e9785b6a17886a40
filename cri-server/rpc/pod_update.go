package rpc

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// UpdatePodSandboxResources records what the kubelet has set on the pod's cgroup.
func (s *runtimeService) UpdatePodSandboxResources(ctx context.Context, req *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	var d decoder
	id := d.id("pod_sandbox_id", req.GetPodSandboxId())
	overhead := d.resources("overhead", req.GetOverhead())
	resources := d.resources("resources", req.GetResources())
	if d.err != nil {
		return nil, d.err
	}
	if err := s.pods.UpdatePodResources(ctx, id, overhead, resources); err != nil {
		return nil, err
	}
	return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
}
