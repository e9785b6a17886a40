package rpc

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ExecSync runs a command in a container and returns what it said. At the timeout it is killed with all its children
// and the error is DeadlineExceeded.
func (s *runtimeService) ExecSync(ctx context.Context, req *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	var d decoder
	id := d.id("container_id", req.GetContainerId())
	cmd := d.command("cmd", req.GetCmd())
	if d.err != nil {
		return nil, d.err
	}
	result, err := s.containers.ExecSync(ctx, id, cmd, seconds(req.GetTimeout()))
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ExecSyncResponse{Stdout: result.Stdout, Stderr: result.Stderr, ExitCode: result.ExitCode}, nil
}

func (d *decoder) command(field string, cmd []string) []string {
	if len(cmd) == 0 || cmd[0] == "" {
		d.fail(field, "is required")
	}
	return d.texts(field, cmd, maxString)
}
