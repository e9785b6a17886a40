package rpc

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// CheckpointContainer is refused: berth cannot freeze a process to disk.
func (s *runtimeService) CheckpointContainer(context.Context, *runtimeapi.CheckpointContainerRequest) (*runtimeapi.CheckpointContainerResponse, error) {
	return nil, noCheckpoint()
}

// CheckpointPod is refused: berth cannot freeze a process to disk.
func (s *runtimeService) CheckpointPod(context.Context, *runtimeapi.CheckpointPodRequest) (*runtimeapi.CheckpointPodResponse, error) {
	return nil, noCheckpoint()
}

// RestorePod is refused: berth cannot freeze a process to disk.
func (s *runtimeService) RestorePod(context.Context, *runtimeapi.RestorePodRequest) (*runtimeapi.RestorePodResponse, error) {
	return nil, noCheckpoint()
}

func noCheckpoint() error {
	return errdefs.NotSupported("berth does not checkpoint or restore processes")
}
