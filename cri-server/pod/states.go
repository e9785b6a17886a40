package pod

import (
	"slices"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// PodState is where a pod is in its life.
type PodState string

// The states of a pod. CRI knows two: ready is SANDBOX_READY, everything else NOTREADY. A pod that is being created has no
// ID that anybody knows, and is not listed.
const (
	PodCreating PodState = "creating" // namespaces, network and files are being made
	PodReady    PodState = "ready"    // containers can be made in it
	PodStopping PodState = "stopping" // containers are killed, network and namespaces go; tried until done
	PodStopped  PodState = "stopped"  // only the record, the cgroup and dead containers are left
	PodRemoving PodState = "removing" // those go; tried until done, then the pod is gone
)

// ContainerState is where a container is in its life.
type ContainerState string

// The states of a container, and what CRI calls them. One that is being created is not listed.
const (
	ContainerCreating ContainerState = "creating"
	ContainerCreated  ContainerState = "created"
	ContainerStarting ContainerState = "starting" // CREATED
	ContainerRunning  ContainerState = "running"
	ContainerExited   ContainerState = "exited"
	ContainerUnknown  ContainerState = "unknown"  // after a restart, until the keeper was asked
	ContainerRemoving ContainerState = "removing" // EXITED; tried until done, then the container is gone
)

// podMoves is the one table of what a pod's state may become.
func podMoves() map[PodState][]PodState {
	return map[PodState][]PodState{
		PodCreating: {PodReady, PodStopping},
		PodReady:    {PodStopping},
		PodStopping: {PodStopped},
		PodStopped:  {PodRemoving},
		PodRemoving: {},
	}
}

// containerMoves is the one table of what a container's state may become.
func containerMoves() map[ContainerState][]ContainerState {
	return map[ContainerState][]ContainerState{
		ContainerCreating: {ContainerCreated, ContainerRemoving},
		ContainerCreated:  {ContainerStarting, ContainerRemoving},
		ContainerStarting: {ContainerRunning, ContainerExited},
		ContainerRunning:  {ContainerExited},
		ContainerExited:   {ContainerRemoving},
		ContainerUnknown:  {ContainerCreated, ContainerRunning, ContainerExited},
		ContainerRemoving: {},
	}
}

// transition changes a state if the table has the move. A move that it does not have is a bug of ours: whoever calls has
// looked at the state under the same lock.
func transition[S ~string](table map[S][]S, state *S, to S) error {
	if !slices.Contains(table[*state], to) {
		return errdefs.Bug("move from %s to %s", *state, to)
	}
	*state = to
	return nil
}
