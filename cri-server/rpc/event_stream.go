package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/events"
	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// GetContainerEvents sends what happens from now on, until the client leaves. One that does not keep up is cut off with
// an error and lists again: events wait for nobody, and nobody's slowness delays a pod.
func (s *runtimeService) GetContainerEvents(_ *runtimeapi.GetEventsRequest, out grpc.ServerStreamingServer[runtimeapi.ContainerEventResponse]) error {
	sub := s.pods.Subscribe()
	defer sub.Close()
	if err := out.SendHeader(nil); err != nil { // the client may rely on seeing all that happens after this
		return err
	}
	ctx, cancel := context.WithCancelCause(out.Context())
	defer cancel(nil)
	go func() {
		select {
		case <-s.stopping:
			cancel(errdefs.Unavailable("berthd stops"))
		case <-ctx.Done():
		}
	}()
	for {
		event, err := sub.Next(ctx)
		switch {
		case errors.Is(err, events.ErrSlow):
			return errdefs.New(errdefs.ErrExhausted, "%w", err)
		case errors.Is(err, events.ErrClosed):
			return errdefs.Unavailable("%w", err)
		case err != nil:
			return context.Cause(ctx)
		}
		if err := out.Send(encodeEvent(event)); err != nil {
			return err
		}
	}
}

func encodeEvent(e pod.Event) *runtimeapi.ContainerEventResponse {
	resp := &runtimeapi.ContainerEventResponse{
		ContainerId:        e.ID,
		ContainerEventType: runtimeapi.ContainerEventType(e.Type),
		CreatedAt:          nanos(e.At),
		PodSandboxStatus:   encodePodStatus(e.Pod),
	}
	for _, c := range e.Containers {
		resp.ContainersStatuses = append(resp.ContainersStatuses, encodeContainerStatus(c))
	}
	return resp
}
