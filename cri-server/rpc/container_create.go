package rpc

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CreateContainer prepares a container of a ready pod. The pod's config in the request is not read: the pod has its own.
func (s *runtimeService) CreateContainer(ctx context.Context, req *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	var d decoder
	podID := d.id("pod_sandbox_id", req.GetPodSandboxId())
	cfg := d.containerConfig(req.GetConfig())
	if d.err != nil {
		return nil, d.err
	}
	id, err := s.containers.CreateContainer(ctx, podID, cfg)
	if err != nil {
		return nil, err
	}
	return &runtimeapi.CreateContainerResponse{ContainerId: id}, nil
}
