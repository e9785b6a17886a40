package rpc

import (
	"context"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
)

// ListContainers lists the containers that pass the filter.
func (s *runtimeService) ListContainers(ctx context.Context, req *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	items, err := s.listContainers(ctx, req.GetFilter())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ListContainersResponse{Containers: items}, nil
}

// StreamContainers is ListContainers without a limit of size.
func (s *runtimeService) StreamContainers(req *runtimeapi.StreamContainersRequest, out grpc.ServerStreamingServer[runtimeapi.StreamContainersResponse]) error {
	items, err := s.listContainers(out.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return sendChunks(items, func(part []*runtimeapi.Container) error {
		return out.Send(&runtimeapi.StreamContainersResponse{Containers: part})
	})
}

func (s *runtimeService) listContainers(ctx context.Context, f *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	var d decoder
	filter := d.containerFilter(f)
	if d.err != nil {
		return nil, d.err
	}
	var items []*runtimeapi.Container
	for _, c := range s.containers.Containers(ctx, filter) {
		items = append(items, encodeContainer(c))
	}
	return items, nil
}

func (d *decoder) containerFilter(f *runtimeapi.ContainerFilter) pod.ContainerFilter {
	filter := pod.ContainerFilter{
		ID:     d.optionalID("filter.id", f.GetId()),
		PodID:  d.optionalID("filter.pod_sandbox_id", f.GetPodSandboxId()),
		Labels: d.pairs("filter.label_selector", f.GetLabelSelector()),
	}
	if f.GetState() != nil {
		filter.States = statesOf(enum(d, "filter.state", f.GetState().GetState(), runtimeapi.ContainerState_CONTAINER_UNKNOWN))
	}
	return filter
}

// statesOf lists berth's states that a state of CRI stands for: the way back of encodeContainerState.
func statesOf(s runtimeapi.ContainerState) []pod.ContainerState {
	all := []pod.ContainerState{
		pod.ContainerCreating, pod.ContainerCreated, pod.ContainerStarting, pod.ContainerRunning,
		pod.ContainerExited, pod.ContainerRemoving, pod.ContainerUnknown,
	}
	var states []pod.ContainerState
	for _, state := range all {
		if encodeContainerState(state) == s {
			states = append(states, state)
		}
	}
	return states
}
