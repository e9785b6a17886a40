package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ended returns a channel that is closed when a container has ended or is gone, or when ctx ends. It hears of that by
// CRI's events; a berthd that is restarted meanwhile is waited for and asked again.
func (n *node) ended(ctx context.Context, id string) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil && !n.awaitEnd(ctx, id) {
			select { // berthd is away, or not ready yet
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	return done
}

// awaitEnd says whether the container has ended; false means that the connection was lost.
func (n *node) awaitEnd(ctx context.Context, id string) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := n.runtime.GetContainerEvents(ctx, &cri.GetEventsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return false
	}
	if _, err := events.Header(); err != nil { // from here on nothing is missed
		return false
	}
	resp, err := n.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return isNotFound(err)
	}
	if state := resp.GetStatus().GetState(); state == cri.ContainerState_CONTAINER_EXITED {
		return true
	}
	for {
		e, err := events.Recv()
		if err != nil {
			return false
		}
		if e.GetContainerId() != id {
			continue
		}
		switch e.GetContainerEventType() {
		case cri.ContainerEventType_CONTAINER_STOPPED_EVENT, cri.ContainerEventType_CONTAINER_DELETED_EVENT:
			return true
		default:
		}
	}
}

// warn tells of something that went wrong beside what was asked for.
func warn(err error) { fmt.Fprintln(os.Stderr, "berth:", err) }
