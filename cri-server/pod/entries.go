package pod

import (
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// podEntry is a pod in memory. Manager.mu guards it, but for rec.ID, rec.Config but resources, and create, which don't change.
type podEntry struct {
	rec    podRecord
	lane   lane
	gone   bool  // the record is removed; who is in the lane owns this
	create *call // finished when the pod is ready, or has failed and what could be cleaned up is
	stop   job
	remove job
	failed bool   // it could not be made, and is being removed
	reason string // why the last attempt to stop or remove it did not succeed

	pause    *call // start of the process that holds a shared PID namespace; nil until a container wants one
	pausePID int
	lost     bool // it has ended while berthd was down
}

// containerEntry is a container in memory. Manager.mu guards it, but for rec.ID, rec.PodID and create.
type containerEntry struct {
	rec      containerRecord
	lane     lane
	gone     bool // the record is removed; who is in the lane owns this
	create   *call
	start    *call // the start under way
	remove   job
	stopping *stopping     // a StopContainer under way
	reserved *reservation  // of a client that attached before the start, until it comes
	exited   chan struct{} // closed when the container has ended, or is known never to run
	early    *client.Exit  // an end that was reported before the start had returned
	spec     *specs.Spec   // nil after a restart, until needed
	prepared bool          // the runtime knows it
	failed   bool          // it could not be made, and is being removed
	pid      int
}

// stopping is a StopContainer under way.
type stopping struct {
	deadline time.Time
	sooner   chan struct{} // told when deadline was moved
	done     chan struct{}
	err      error // why the kill did not do it; set before done is closed
}

// lane lets one writer of a record after the other, each with what is the latest then: it is a place in a queue, not a
// lock that readers of the state would wait for.
type lane chan struct{}

func newLane() lane { return make(lane, 1) }

func (l lane) enter() { l <- struct{}{} }
func (l lane) leave() { <-l }

func newPodEntry(rec podRecord) *podEntry {
	p := &podEntry{rec: rec, lane: newLane(), create: newCall()}
	p.stop.within = &p.remove
	return p
}

func newContainerEntry(p *podEntry, rec containerRecord) *containerEntry {
	return &containerEntry{rec: rec, lane: newLane(), create: newCall(), exited: make(chan struct{}), remove: job{within: &p.remove}}
}
