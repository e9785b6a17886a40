package rpc

import (
	"context"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
)

// ListPodSandbox lists the pods that pass the filter.
func (s *runtimeService) ListPodSandbox(ctx context.Context, req *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	items, err := s.listPods(ctx, req.GetFilter())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ListPodSandboxResponse{Items: items}, nil
}

// StreamPodSandboxes is ListPodSandbox without a limit of size.
func (s *runtimeService) StreamPodSandboxes(req *runtimeapi.StreamPodSandboxesRequest, out grpc.ServerStreamingServer[runtimeapi.StreamPodSandboxesResponse]) error {
	items, err := s.listPods(out.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return sendChunks(items, func(part []*runtimeapi.PodSandbox) error {
		return out.Send(&runtimeapi.StreamPodSandboxesResponse{PodSandboxes: part})
	})
}

func (s *runtimeService) listPods(ctx context.Context, f *runtimeapi.PodSandboxFilter) ([]*runtimeapi.PodSandbox, error) {
	var d decoder
	filter := d.podFilter(f)
	if d.err != nil {
		return nil, d.err
	}
	var items []*runtimeapi.PodSandbox
	for _, p := range s.pods.Pods(ctx, filter) {
		items = append(items, encodePod(p))
	}
	return items, nil
}

func (d *decoder) podFilter(f *runtimeapi.PodSandboxFilter) pod.PodFilter {
	filter := pod.PodFilter{
		ID:     d.optionalID("filter.id", f.GetId()),
		Labels: d.pairs("filter.label_selector", f.GetLabelSelector()),
	}
	if f.GetState() != nil {
		ready := enum(d, "filter.state", f.GetState().GetState(), runtimeapi.PodSandboxState_SANDBOX_NOTREADY) ==
			runtimeapi.PodSandboxState_SANDBOX_READY
		filter.Ready = &ready
	}
	return filter
}
