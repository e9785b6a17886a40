package pod

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
)

// recordVersion goes up when an older berthd could not read the records of this one.
const recordVersion = 1

// maxRecord bounds what is read of a record: a CRI message has at most 16 MiB.
const maxRecord = 32 << 20

// podRecord is a pod on disk.
type podRecord struct {
	Version   int            `json:"version"`
	ID        string         `json:"id"`
	State     PodState       `json:"state"`
	CreatedAt time.Time      `json:"created_at"`
	Config    spec.PodConfig `json:"config"` // with resources as updated
	Asked     string         `json:"asked"`  // digest of the config as asked, to tell a retry from another request

	Hostname  string          `json:"hostname"`
	Cgroup    string          `json:"cgroup"`               // parent of the containers' cgroups
	OwnCgroup bool            `json:"own_cgroup,omitempty"` // made by us, so removed by us
	Pause     bool            `json:"pause,omitempty"`      // a process holds a shared PID namespace; its ID is the pod's
	Pins      netns.Pins      `json:"pins"`
	IPs       []netip.Addr    `json:"ips,omitempty"`
	CNI       json.RawMessage `json:"cni,omitempty"`

	Seccomp *specs.LinuxSeccomp `json:"seccomp,omitempty"` // what was in the file of the pod's own profile
}

// containerRecord is a container on disk.
type containerRecord struct {
	Version int                  `json:"version"`
	ID      string               `json:"id"`
	PodID   string               `json:"pod_id"`
	State   ContainerState       `json:"state"`
	Config  spec.ContainerConfig `json:"config"` // with resources as updated and volumes' images resolved
	Asked   string               `json:"asked"`  // digest of the config as asked, to tell a retry from another request

	CreatedAt  time.Time `json:"created_at"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	ExitCode   int32     `json:"exit_code,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"`

	Cgroup     string            `json:"cgroup,omitempty"`
	ImageID    string            `json:"image_id,omitempty"`
	ImageRef   string            `json:"image_ref,omitempty"`
	Image      spec.Image        `json:"image"`
	User       spec.User         `json:"user"`
	Volumes    []spec.Volume     `json:"volumes,omitempty"`
	Sources    map[string]string `json:"sources,omitempty"` // host path of a mount → where it leads
	StopSignal int32             `json:"stop_signal,omitempty"`

	Seccomp *specs.LinuxSeccomp `json:"seccomp,omitempty"` // what was in the file of its profile: it may change later
}

// errNewer is of records whose pods must not be touched: they are whole, and this berthd does not understand them.
var errNewer = errors.New("written by a newer berthd: start that one, or remove all pods with it before going back")

func checkVersion(v int) error {
	switch {
	case v > recordVersion:
		return fmt.Errorf("record of version %d, this berthd knows %d: %w", v, recordVersion, errNewer)
	case v < 1:
		return errdefs.Invalid("record of version %d", v)
	}
	return nil
}

// decodePod reads a record. Its config was checked when the pod was made, and is not checked again: rules that became stricter
// are for new pods.
func decodePod(id string, data []byte) (podRecord, error) {
	var r podRecord
	if err := decodeRecord(data, &r); err != nil {
		return r, err
	}
	if err := checkVersion(r.Version); err != nil {
		return r, err
	}
	if _, ok := podMoves()[r.State]; !ok || r.ID != id || !validID(id) {
		return r, errdefs.Invalid("record of pod %q in state %q does not belong here", r.ID, r.State)
	}
	return r, nil
}

func decodeContainer(id string, data []byte) (containerRecord, error) {
	var r containerRecord
	if err := decodeRecord(data, &r); err != nil {
		return r, err
	}
	if err := checkVersion(r.Version); err != nil {
		return r, err
	}
	if _, ok := containerMoves()[r.State]; !ok || r.ID != id || !validID(id) || !validID(r.PodID) {
		return r, errdefs.Invalid("record of container %q of pod %q in state %q does not belong here", r.ID, r.PodID, r.State)
	}
	return r, nil
}

func decodeRecord(data []byte, into any) error {
	if len(data) > maxRecord {
		return errdefs.Invalid("record of %d bytes, the limit is %d", len(data), maxRecord)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(into); err != nil {
		return errdefs.Invalid("decode record: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errdefs.Invalid("decode record: more than one value")
	}
	return nil
}

func encodeRecord(r any) ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return data, nil
}
