package rpc

import (
	"context"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/events"
	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/imagestore"
)

// Pods is what RPCs need of pods; pod.Manager is one.
type Pods interface {
	RunPod(ctx context.Context, cfg spec.PodConfig) (string, error)
	StopPod(ctx context.Context, id string) error
	RemovePod(ctx context.Context, id string) error
	Pod(ctx context.Context, id string) (pod.PodStatus, error)
	PodSnapshot(ctx context.Context, id string) (pod.PodStatus, []pod.ContainerStatus, error)
	Pods(ctx context.Context, f pod.PodFilter) []pod.PodStatus
	UpdatePodResources(ctx context.Context, id string, overhead, resources *spec.Resources) error
	PodStats(ctx context.Context, id string) (pod.PodStats, error)
	ListPodStats(ctx context.Context, f pod.PodFilter) ([]pod.PodStats, error)
	UserNamespaces() error // why pods can't have them
	Subscribe() *events.Subscription[pod.Event]
}

// Containers is what RPCs need of containers; pod.Manager is one.
type Containers interface {
	CreateContainer(ctx context.Context, podID string, cfg spec.ContainerConfig) (string, error)
	StartContainer(ctx context.Context, id string) error
	StopContainer(ctx context.Context, id string, timeout time.Duration) error
	RemoveContainer(ctx context.Context, id string) error
	Container(ctx context.Context, id string) (pod.ContainerStatus, error)
	Containers(ctx context.Context, f pod.ContainerFilter) []pod.ContainerStatus
	UpdateResources(ctx context.Context, id string, r *spec.Resources) error
	ReopenLog(ctx context.Context, id string) error
	ReserveAttach(ctx context.Context, id string, stdin, stdout, stderr bool) error
	ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (pod.ExecResult, error)
	ContainerStats(ctx context.Context, id string) (pod.ContainerStats, error)
	ListContainerStats(ctx context.Context, f pod.ContainerFilter) ([]pod.ContainerStats, error)
}

// Images is what RPCs need of the image store; imagestore.Store is one.
type Images interface {
	Pull(ctx context.Context, r imagestore.PullRequest) (imagestore.Image, error)
	Resolve(ctx context.Context, refOrID string) (imagestore.Image, error)
	List(ctx context.Context) ([]imagestore.Image, error)
	Remove(ctx context.Context, refOrID string) error
	FsInfo(ctx context.Context) (imagestore.FsInfo, error)
}

// Network is what RPCs need of the node's networks.
type Network interface {
	Status(ctx context.Context) (problem, full error) // why pods can't be connected; why not at the moment, as addresses are used up
	SetPodCIDR(ctx context.Context, cidr string) error
	Repair(ctx context.Context) error
}

// Streams hands out the addresses at which a client finds its exec, attach or port-forward.
type Streams interface {
	GetExec(req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error)
	GetAttach(req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error)
	GetPortForward(req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error)
}
