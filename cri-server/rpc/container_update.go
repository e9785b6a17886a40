package rpc

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// UpdateContainerResources changes a container's limits; what is zero stays as it is.
func (s *runtimeService) UpdateContainerResources(ctx context.Context, req *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	var d decoder
	id := d.id("container_id", req.GetContainerId())
	if req.GetLinux() == nil {
		d.fail("linux", "is required")
	}
	resources := d.resources("linux", req.GetLinux())
	if d.err != nil {
		return nil, d.err
	}
	if err := s.containers.UpdateResources(ctx, id, resources); err != nil {
		return nil, err
	}
	return &runtimeapi.UpdateContainerResourcesResponse{}, nil
}
