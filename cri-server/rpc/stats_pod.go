package rpc

import (
	"context"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
)

// PodSandboxStats measures one pod and its containers.
func (s *runtimeService) PodSandboxStats(ctx context.Context, req *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	var d decoder
	id := d.id("pod_sandbox_id", req.GetPodSandboxId())
	if d.err != nil {
		return nil, d.err
	}
	stats, err := s.pods.PodStats(ctx, id)
	if err != nil {
		return nil, err
	}
	return &runtimeapi.PodSandboxStatsResponse{Stats: encodePodStats(stats)}, nil
}

// ListPodSandboxStats measures the pods that pass the filter.
func (s *runtimeService) ListPodSandboxStats(ctx context.Context, req *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	items, err := s.listPodStats(ctx, req.GetFilter())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ListPodSandboxStatsResponse{Stats: items}, nil
}

// StreamPodSandboxStats is ListPodSandboxStats without a limit of size.
func (s *runtimeService) StreamPodSandboxStats(req *runtimeapi.StreamPodSandboxStatsRequest, out grpc.ServerStreamingServer[runtimeapi.StreamPodSandboxStatsResponse]) error {
	items, err := s.listPodStats(out.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return sendChunks(items, func(part []*runtimeapi.PodSandboxStats) error {
		return out.Send(&runtimeapi.StreamPodSandboxStatsResponse{PodSandboxStats: part})
	})
}

func (s *runtimeService) listPodStats(ctx context.Context, f *runtimeapi.PodSandboxStatsFilter) ([]*runtimeapi.PodSandboxStats, error) {
	var d decoder
	filter := pod.PodFilter{
		ID:     d.optionalID("filter.id", f.GetId()),
		Labels: d.pairs("filter.label_selector", f.GetLabelSelector()),
	}
	if d.err != nil {
		return nil, d.err
	}
	list, err := s.pods.ListPodStats(ctx, filter)
	if err != nil {
		return nil, err
	}
	var items []*runtimeapi.PodSandboxStats
	for _, one := range list {
		items = append(items, encodePodStats(one))
	}
	return items, nil
}
