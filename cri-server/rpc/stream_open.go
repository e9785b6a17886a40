package rpc

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Exec returns an address at which a command of a running container is started and streamed, once, within a minute.
func (s *runtimeService) Exec(ctx context.Context, req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	var d decoder
	id := d.id("container_id", req.GetContainerId())
	cmd := d.command("cmd", req.GetCmd())
	if d.err != nil {
		return nil, d.err
	}
	id, err := s.runningContainer(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.streams.GetExec(&runtimeapi.ExecRequest{
		ContainerId: id, Cmd: cmd, Tty: req.GetTty(), Stdin: req.GetStdin(), Stdout: req.GetStdout(), Stderr: req.GetStderr(),
	})
}

// Attach returns an address at which a container's streams are found, once, within a minute. From a container that has not
// been started the client gets everything from the first byte on.
func (s *runtimeService) Attach(ctx context.Context, req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	var d decoder
	id := d.id("container_id", req.GetContainerId())
	if d.err != nil {
		return nil, d.err
	}
	status, err := s.containers.Container(ctx, id)
	if err != nil {
		return nil, err
	}
	if status.State == pod.ContainerCreated {
		err = s.containers.ReserveAttach(ctx, status.ID, req.GetStdin(), req.GetStdout(), req.GetStderr())
	} else {
		err = mustRun(status)
	}
	if err != nil {
		return nil, err
	}
	return s.streams.GetAttach(&runtimeapi.AttachRequest{
		ContainerId: status.ID, Tty: req.GetTty(), Stdin: req.GetStdin(), Stdout: req.GetStdout(), Stderr: req.GetStderr(),
	})
}

// PortForward returns an address at which connections to ports of a pod are forwarded.
func (s *runtimeService) PortForward(ctx context.Context, req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	var d decoder
	id := d.id("pod_sandbox_id", req.GetPodSandboxId())
	d.count("port", len(req.GetPort()))
	for _, port := range req.GetPort() {
		if port == 0 {
			d.fail("port", "0 is not a port (1 to 65535)")
		}
		d.port("port", port)
	}
	if d.err != nil {
		return nil, d.err
	}
	status, err := s.pods.Pod(ctx, id)
	if err != nil {
		return nil, err
	}
	if !status.Ready() {
		return nil, errdefs.FailedPrecondition("forward ports of pod %s: it is %s, not ready", status.ID, status.State)
	}
	return s.streams.GetPortForward(&runtimeapi.PortForwardRequest{PodSandboxId: status.ID, Port: req.GetPort()})
}

// runningContainer returns the whole ID of a running container, so that the error comes now and not over the stream.
func (s *runtimeService) runningContainer(ctx context.Context, id string) (string, error) {
	status, err := s.containers.Container(ctx, id)
	if err != nil {
		return "", err
	}
	return status.ID, mustRun(status)
}

func mustRun(c pod.ContainerStatus) error {
	if c.State != pod.ContainerRunning {
		return errdefs.FailedPrecondition("container %s is %s, not running", c.ID, c.State)
	}
	return nil
}
