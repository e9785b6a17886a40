package autoremove

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/berth-runtime/berth/cri-server/events"
	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Annotation of a pod, with the value "true", asks for its removal once all its containers have ended.
const Annotation = "berth.remove"

// atOnce is how many pods are taken down at the same time.
const atOnce = 32

// Pods is what is needed of pods; pod.Manager is one.
type Pods interface {
	Subscribe() *events.Subscription[pod.Event]
	Pods(ctx context.Context, f pod.PodFilter) []pod.PodStatus
	PodSnapshot(ctx context.Context, id string) (pod.PodStatus, []pod.ContainerStatus, error)
	StopPod(ctx context.Context, id string) error
	RemovePod(ctx context.Context, id string) error
	ReopenLog(ctx context.Context, containerID string) error
}

// keeper looks after the pods whose log folders lie below logs.
type keeper struct {
	pods Pods
	logs string
	log  *slog.Logger
	free chan struct{} // a place for each pod that is being taken down
	all  sync.WaitGroup

	mu   sync.Mutex
	busy map[string]bool // by pod ID
}

// Run looks after such pods until ctx ends or the bus of events closes. logs is the folder below which their log folders are.
func Run(ctx context.Context, pods Pods, logs string, log *slog.Logger) error {
	k := &keeper{pods: pods, logs: filepath.Clean(logs), log: log, free: make(chan struct{}, atOnce), busy: map[string]bool{}}
	ctx, cancel := context.WithCancel(ctx)
	defer k.all.Wait()
	defer cancel()
	k.all.Go(func() { k.rotate(ctx) })
	for {
		err := k.follow(ctx)
		if errors.Is(err, events.ErrSlow) {
			continue // events were lost: look at everything again
		}
		if errors.Is(err, events.ErrClosed) || errors.Is(err, context.Canceled) {
			err = nil // the end that was asked for
		}
		return err
	}
}

func (k *keeper) follow(ctx context.Context) error {
	sub := k.pods.Subscribe()
	defer sub.Close()
	for _, p := range k.pods.Pods(ctx, pod.PodFilter{}) {
		status, containers, err := k.pods.PodSnapshot(ctx, p.ID)
		if errors.Is(err, errdefs.ErrNotFound) {
			continue // removed by somebody else meanwhile
		}
		if err != nil {
			return fmt.Errorf("look at pod %s: %w", p.ID, err)
		}
		k.look(ctx, status, containers)
	}
	for {
		e, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		switch {
		case e.Type == pod.EventStopped:
			k.look(ctx, e.Pod, e.Containers)
		case e.Type == pod.EventDeleted && e.ID == e.Pod.ID && k.own(e.Pod.Config) && wanted(e.Pod.Config):
			if err := os.RemoveAll(e.Pod.Config.LogDirectory); err != nil {
				k.log.WarnContext(ctx, "the log of a removed pod stays", "pod", e.ID, "err", err)
			}
		}
	}
}

// own says whether berth run made the pod.
func (k *keeper) own(c spec.PodConfig) bool {
	return c.LogDirectory != "" && filepath.Dir(filepath.Clean(c.LogDirectory)) == k.logs
}

// wanted says whether a pod asks for its removal.
func wanted(c spec.PodConfig) bool { return c.Annotations[Annotation] == "true" }

// over says whether a pod had containers, and none of them will run any more.
func over(containers []pod.ContainerStatus) bool {
	for _, c := range containers {
		if c.State != pod.ContainerExited && c.State != pod.ContainerRemoving {
			return false
		}
	}
	return len(containers) > 0
}

// look begins to take a pod down if its time has come, and that has not begun already.
func (k *keeper) look(ctx context.Context, p pod.PodStatus, containers []pod.ContainerStatus) {
	if !k.own(p.Config) || !over(containers) || p.State == pod.PodRemoving || !wanted(p.Config) && !p.Ready() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy[p.ID] {
		return
	}
	k.busy[p.ID] = true
	k.all.Go(func() {
		k.takeDown(ctx, p)
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.busy, p.ID)
	})
}

// takeDown logs what goes wrong: nobody else would hear of it. Package pod tries again by itself.
func (k *keeper) takeDown(ctx context.Context, p pod.PodStatus) {
	do, what := k.pods.StopPod, "stopped"
	if wanted(p.Config) {
		do, what = k.pods.RemovePod, "removed"
		if err := awaitClient(ctx, filepath.Join(p.Config.LogDirectory, HoldName)); err != nil {
			if ctx.Err() == nil {
				k.log.WarnContext(ctx, "wait for the client of a pod that has ended", "pod", p.ID, "err", err)
			}
			return
		}
	}
	select {
	case k.free <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-k.free }()
	err := do(ctx, p.ID)
	switch {
	case ctx.Err() != nil: // the next berthd looks at everything
	case err != nil:
		k.log.WarnContext(ctx, "a pod whose containers have ended could not be taken down; it is tried again", "pod", p.ID, "wanted", what, "err", err)
	default:
		k.log.DebugContext(ctx, "took down a pod whose containers have ended", "pod", p.ID, "wanted", what)
	}
}
