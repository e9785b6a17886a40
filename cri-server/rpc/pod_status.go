package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
)

// PodSandboxStatus tells about one pod and its containers, all as of one moment.
func (s *runtimeService) PodSandboxStatus(ctx context.Context, req *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	var d decoder
	id := d.id("pod_sandbox_id", req.GetPodSandboxId())
	if d.err != nil {
		return nil, d.err
	}
	at := time.Now() // before the snapshot: the kubelet takes it for a time up to which it knows everything
	status, containers, err := s.pods.PodSnapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	resp := &runtimeapi.PodSandboxStatusResponse{Status: encodePodStatus(status), Timestamp: at.UnixNano()}
	for _, c := range containers {
		resp.ContainersStatuses = append(resp.ContainersStatuses, encodeContainerStatus(c))
	}
	if req.GetVerbose() {
		resp.Info, err = encodePodInfo(status)
	}
	return resp, err
}

// podInfo is the verbose part, for people: nothing may depend on its shape.
type podInfo struct {
	State    string          `json:"state"`
	Reason   string          `json:"reason,omitempty"`
	PausePID int             `json:"pid"`
	Netns    string          `json:"netns,omitempty"`
	Cgroup   string          `json:"cgroup"`
	CNI      json.RawMessage `json:"cniResult,omitempty"`
	Config   spec.PodConfig  `json:"config"`
}

func encodePodInfo(p pod.PodStatus) (map[string]string, error) {
	info := podInfo{
		State: string(p.State), Reason: p.Reason, PausePID: p.PausePID, Netns: p.Netns, Cgroup: p.Cgroup, CNI: p.CNI, Config: p.Config,
	}
	data, err := json.Marshal(info)
	if err != nil {
		return nil, fmt.Errorf("render the details of pod %s: %w", p.ID, err)
	}
	return map[string]string{"info": string(data)}, nil
}
