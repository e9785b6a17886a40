package rpc

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// StopPodSandbox ends a pod's processes and takes its network down. Again, or for a pod that isn't there, it succeeds.
func (s *runtimeService) StopPodSandbox(ctx context.Context, req *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	var d decoder
	id := d.id("pod_sandbox_id", req.GetPodSandboxId())
	if d.err != nil {
		return nil, d.err
	}
	if err := absentIsDone(s.pods.StopPod(ctx, id)); err != nil {
		return nil, err
	}
	return &runtimeapi.StopPodSandboxResponse{}, nil
}
