package rpc

import (
	"context"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
)

// ContainerStats measures one container.
func (s *runtimeService) ContainerStats(ctx context.Context, req *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	var d decoder
	id := d.id("container_id", req.GetContainerId())
	if d.err != nil {
		return nil, d.err
	}
	stats, err := s.containers.ContainerStats(ctx, id)
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ContainerStatsResponse{Stats: encodeContainerStats(stats)}, nil
}

// ListContainerStats measures the containers that pass the filter.
func (s *runtimeService) ListContainerStats(ctx context.Context, req *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	items, err := s.listContainerStats(ctx, req.GetFilter())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ListContainerStatsResponse{Stats: items}, nil
}

// StreamContainerStats is ListContainerStats without a limit of size.
func (s *runtimeService) StreamContainerStats(req *runtimeapi.StreamContainerStatsRequest, out grpc.ServerStreamingServer[runtimeapi.StreamContainerStatsResponse]) error {
	items, err := s.listContainerStats(out.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return sendChunks(items, func(part []*runtimeapi.ContainerStats) error {
		return out.Send(&runtimeapi.StreamContainerStatsResponse{ContainerStats: part})
	})
}

func (s *runtimeService) listContainerStats(ctx context.Context, f *runtimeapi.ContainerStatsFilter) ([]*runtimeapi.ContainerStats, error) {
	var d decoder
	filter := pod.ContainerFilter{
		ID:     d.optionalID("filter.id", f.GetId()),
		PodID:  d.optionalID("filter.pod_sandbox_id", f.GetPodSandboxId()),
		Labels: d.pairs("filter.label_selector", f.GetLabelSelector()),
	}
	if d.err != nil {
		return nil, d.err
	}
	list, err := s.containers.ListContainerStats(ctx, filter)
	if err != nil {
		return nil, err
	}
	return encodeAllStats(list), nil
}

func encodeAllStats(list []pod.ContainerStats) []*runtimeapi.ContainerStats {
	var items []*runtimeapi.ContainerStats
	for _, one := range list {
		items = append(items, encodeContainerStats(one))
	}
	return items
}
