package oci

import (
	"context"
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/seccomp/agent"
)

// sendListener hands the listener of a child's seccomp filter to the agent that the profile names.
func (c *container) sendListener(ctx context.Context, spec *specs.Spec, cp fork.Checkpoint, status specs.ContainerState) error {
	listener, err := cp.File("seccomp listener")
	if err != nil {
		return err
	}
	state := specs.ContainerProcessState{Pid: cp.Child.PID, Metadata: spec.Linux.Seccomp.ListenerMetadata, State: c.hookState(status)}
	return errors.Join(agent.Send(ctx, spec.Linux.Seccomp.ListenerPath, state, listener), listener.Close())
}
