package rpc

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RemoveContainer kills a container if need be and forgets it. Again it succeeds.
func (s *runtimeService) RemoveContainer(ctx context.Context, req *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	var d decoder
	id := d.id("container_id", req.GetContainerId())
	if d.err != nil {
		return nil, d.err
	}
	if err := absentIsDone(s.containers.RemoveContainer(ctx, id)); err != nil {
		return nil, err
	}
	return &runtimeapi.RemoveContainerResponse{}, nil
}
