package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/events"
	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// fake is a node in memory: just enough of pods, containers, images and network to see what RPCs ask of them and what
// they make of the answers.
type fake struct {
	mu         sync.Mutex
	pods       []pod.PodStatus
	containers []pod.ContainerStatus
	images     []imagestore.Image
	calls      []string
	bus        *events.Bus[pod.Event]
	run        func(context.Context, spec.PodConfig) (string, error)
	pull       func(context.Context, imagestore.PullRequest) (imagestore.Image, error)
}

func newFake() *fake { return &fake{bus: events.New[pod.Event](4)} }

func (f *fake) note(call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
}

func (f *fake) noted(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.calls, want) {
		t.Fatalf("calls %q, want %q", f.calls, want)
	}
}

func (f *fake) RunPod(ctx context.Context, c spec.PodConfig) (string, error) { return f.run(ctx, c) }

func (f *fake) StopPod(_ context.Context, id string) error { return f.findPod("stop", id) }

func (f *fake) RemovePod(_ context.Context, id string) error { return f.findPod("remove", id) }

func (f *fake) findPod(verb, id string) error {
	f.note(verb + " pod " + id)
	_, err := f.Pod(context.Background(), id)
	return err
}

func (f *fake) Pod(_ context.Context, id string) (pod.PodStatus, error) {
	for _, p := range f.pods {
		if p.ID == id {
			return p, nil
		}
	}
	return pod.PodStatus{}, errdefs.NotFound("pod %s", id)
}

func (f *fake) PodSnapshot(ctx context.Context, id string) (pod.PodStatus, []pod.ContainerStatus, error) {
	p, err := f.Pod(ctx, id)
	return p, f.containers, err
}

func (f *fake) Pods(_ context.Context, filter pod.PodFilter) []pod.PodStatus {
	return slices.DeleteFunc(slices.Clone(f.pods), func(p pod.PodStatus) bool {
		return filter.ID != "" && filter.ID != p.ID || filter.Ready != nil && *filter.Ready != p.Ready()
	})
}

func (f *fake) UpdatePodResources(_ context.Context, id string, _, _ *spec.Resources) error {
	return f.findPod("update", id)
}

func (f *fake) PodStats(ctx context.Context, id string) (pod.PodStats, error) {
	p, err := f.Pod(ctx, id)
	return pod.PodStats{Status: p}, err
}

func (f *fake) ListPodStats(context.Context, pod.PodFilter) ([]pod.PodStats, error) { return nil, nil }

func (f *fake) UserNamespaces() error { return nil }

func (f *fake) Subscribe() *events.Subscription[pod.Event] { return f.bus.Subscribe() }

func (f *fake) CreateContainer(_ context.Context, podID string, c spec.ContainerConfig) (string, error) {
	return podID + "-" + c.Name, nil
}

func (f *fake) StartContainer(_ context.Context, id string) error {
	return f.findContainer("start", id)
}

func (f *fake) RemoveContainer(_ context.Context, id string) error {
	return f.findContainer("remove", id)
}

func (f *fake) ReopenLog(_ context.Context, id string) error { return f.findContainer("reopen", id) }

func (f *fake) StopContainer(_ context.Context, id string, timeout time.Duration) error {
	return f.findContainer("stop in "+timeout.String(), id)
}

func (f *fake) UpdateResources(_ context.Context, id string, _ *spec.Resources) error {
	return f.findContainer("update", id)
}

func (f *fake) findContainer(verb, id string) error {
	f.note(verb + " container " + id)
	_, err := f.Container(context.Background(), id)
	return err
}

func (f *fake) Container(_ context.Context, id string) (pod.ContainerStatus, error) {
	for _, c := range f.containers {
		if c.ID == id {
			return c, nil
		}
	}
	return pod.ContainerStatus{}, errdefs.NotFound("container %s", id)
}

func (f *fake) Containers(_ context.Context, filter pod.ContainerFilter) []pod.ContainerStatus {
	return slices.DeleteFunc(slices.Clone(f.containers), func(c pod.ContainerStatus) bool {
		return filter.ID != "" && filter.ID != c.ID || filter.States != nil && !slices.Contains(filter.States, c.State)
	})
}

func (f *fake) ExecSync(_ context.Context, id string, cmd []string, _ time.Duration) (pod.ExecResult, error) {
	if cmd[0] == "panic" {
		panic("as asked")
	}
	return pod.ExecResult{Stdout: []byte(cmd[0]), ExitCode: 3}, f.findContainer("exec", id)
}

func (f *fake) ReserveAttach(_ context.Context, id string, stdin, stdout, stderr bool) error {
	f.note(fmt.Sprintf("reserve %s %t %t %t", id, stdin, stdout, stderr))
	return f.findContainer("attach", id)
}

func (f *fake) ContainerStats(_ context.Context, id string) (pod.ContainerStats, error) {
	return pod.ContainerStats{}, f.findContainer("stats", id)
}

func (f *fake) ListContainerStats(context.Context, pod.ContainerFilter) ([]pod.ContainerStats, error) {
	return nil, nil
}

func (f *fake) GetExec(req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	return &runtimeapi.ExecResponse{Url: "http://x/exec/" + req.GetContainerId()}, nil
}

func (f *fake) GetAttach(req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	return &runtimeapi.AttachResponse{Url: "http://x/attach/" + req.GetContainerId()}, nil
}

func (f *fake) GetPortForward(req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	return &runtimeapi.PortForwardResponse{Url: "http://x/forward/" + req.GetPodSandboxId()}, nil
}

// fakeImages is a type of its own: its Remove and List are not those of pods.
type fakeImages struct{ *fake }

func (f fakeImages) Pull(ctx context.Context, r imagestore.PullRequest) (imagestore.Image, error) {
	return f.pull(ctx, r)
}

func (f fakeImages) Resolve(_ context.Context, ref string) (imagestore.Image, error) {
	for _, i := range f.images {
		if i.ID == ref || slices.Contains(i.Tags, ref) {
			return i, nil
		}
	}
	return imagestore.Image{}, errdefs.NotFound("image %s", ref)
}

func (f fakeImages) List(context.Context) ([]imagestore.Image, error) { return f.images, nil }

func (f fakeImages) Remove(_ context.Context, ref string) error {
	f.note("remove image " + ref)
	return nil
}

func (f fakeImages) FsInfo(context.Context) (imagestore.FsInfo, error) {
	return imagestore.FsInfo{Path: "/r", Bytes: 5, Inodes: 6, Snapshots: imagestore.Usage{Bytes: 7, Inodes: 8}}, nil
}

type fakeNetwork struct {
	*fake
	err error
}

func (f fakeNetwork) Status(context.Context) (problem, full error) {
	if errors.Is(f.err, errdefs.ErrExhausted) {
		return nil, f.err
	}
	return f.err, nil
}

func (f fakeNetwork) Repair(context.Context) error {
	f.note("repair")
	return nil
}

func (f fakeNetwork) SetPodCIDR(_ context.Context, cidr string) error {
	f.note("cidr " + cidr)
	return nil
}
