package rpc

import (
	"context"
	"errors"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// RemovePodSandbox stops a pod and forgets it with all its containers. Again it succeeds.
func (s *runtimeService) RemovePodSandbox(ctx context.Context, req *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	var d decoder
	id := d.id("pod_sandbox_id", req.GetPodSandboxId())
	if d.err != nil {
		return nil, d.err
	}
	if err := absentIsDone(s.pods.RemovePod(ctx, id)); err != nil {
		return nil, err
	}
	return &runtimeapi.RemovePodSandboxResponse{}, nil
}

// absentIsDone makes stopping and removing idempotent, as CRI asks: what isn't there is stopped and removed.
func absentIsDone(err error) error {
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	return err
}
