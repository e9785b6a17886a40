package rpc

import (
	"context"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// StopContainer sends the stop signal, and SIGKILL when the time is over. Again, or for a container that isn't there, it
// succeeds.
func (s *runtimeService) StopContainer(ctx context.Context, req *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	var d decoder
	id := d.id("container_id", req.GetContainerId())
	if d.err != nil {
		return nil, d.err
	}
	if err := absentIsDone(s.containers.StopContainer(ctx, id, seconds(req.GetTimeout()))); err != nil {
		return nil, err
	}
	return &runtimeapi.StopContainerResponse{}, nil
}

// seconds converts CRI's timeouts. Negative ones are none, and those over a year are a year.
func seconds(n int64) time.Duration {
	const year = 365 * 24 * 3600
	return time.Duration(min(max(n, 0), year)) * time.Second
}
