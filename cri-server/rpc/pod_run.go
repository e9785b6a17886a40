package rpc

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RunPodSandbox makes a pod ready for containers. A retry of a request that still runs gets its result.
func (s *runtimeService) RunPodSandbox(ctx context.Context, req *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	var d decoder
	cfg := d.podConfig(req.GetConfig(), req.GetRuntimeHandler())
	if d.err != nil {
		return nil, d.err
	}
	id, err := s.pods.RunPod(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &runtimeapi.RunPodSandboxResponse{PodSandboxId: id}, nil
}
