package pod

import (
	"net/netip"
	"time"

	"github.com/berth-runtime/berth/cri-server/spec"
)

// PodStatus is what can be said about a pod at one moment. It shares nothing with the manager but the maps and pointers
// inside Config, which nobody may change.
type PodStatus struct {
	ID        string
	Config    spec.PodConfig
	State     PodState
	Reason    string // why the state is what it is, for a person: "network teardown: …"; empty when all is well
	CreatedAt time.Time
	IPs       []netip.Addr // primary first; nil for a pod in the host's network
	Netns     string       // path that pins the network namespace; empty for the host's
	Cgroup    string       // cgroup path that the containers live under
	PausePID  int          // process that holds a shared PID namespace; 0 if there is none
	CNI       []byte       // the raw result of the network chain, JSON; nil for the host's network
}

// Ready says whether the pod is SANDBOX_READY in CRI's terms.
func (p PodStatus) Ready() bool { return p.State == PodReady }

// ContainerStatus is what can be said about a container at one moment.
type ContainerStatus struct {
	ID         string
	PodID      string
	Config     spec.ContainerConfig // as asked, with resources as updated and resolved images of volumes
	State      ContainerState
	CreatedAt  time.Time
	StartedAt  time.Time // zero: never
	FinishedAt time.Time // zero: not yet
	ExitCode   int32
	Reason     string // "Completed", "Error", "OOMKilled", "ContainerStartError", "Unknown"; empty before the end
	Message    string
	ImageID    string // "sha256:…"
	ImageRef   string // name@digest if there is one, else the ID
	LogPath    string // absolute; empty: output is thrown away
	User       User   // what the first process starts as
	StopSignal int32  // the effective one, a Linux signal number
	PID        int    // 0 unless running
	SnapshotID string
}

// User is the identity of a container's first process.
type User struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// PodFilter selects pods; what is empty or nil selects all. Conditions are ANDed.
type PodFilter struct {
	ID     string // may be a unique prefix
	Ready  *bool
	Labels map[string]string
}

// ContainerFilter selects containers; what is empty or nil selects all. Conditions are ANDed.
type ContainerFilter struct {
	ID     string // may be a unique prefix
	PodID  string // may be a unique prefix
	States []ContainerState
	Labels map[string]string
}

// EventType is CRI's ContainerEventType, with its numbers.
type EventType int32

// The types of event.
const (
	EventCreated EventType = 0
	EventStarted EventType = 1
	EventStopped EventType = 2
	EventDeleted EventType = 3
)

// Event tells that something happened to a container or to a pod (then ID is the pod's).
type Event struct {
	Type       EventType
	ID         string
	At         time.Time
	Pod        PodStatus
	Containers []ContainerStatus // those of the pod
}
