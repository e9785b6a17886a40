package rpc

import (
	"context"
	"encoding/json"
	"fmt"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
)

// ContainerStatus tells about one container.
func (s *runtimeService) ContainerStatus(ctx context.Context, req *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	var d decoder
	id := d.id("container_id", req.GetContainerId())
	if d.err != nil {
		return nil, d.err
	}
	status, err := s.containers.Container(ctx, id)
	if err != nil {
		return nil, err
	}
	resp := &runtimeapi.ContainerStatusResponse{Status: encodeContainerStatus(status)}
	if req.GetVerbose() {
		resp.Info, err = encodeContainerInfo(status)
	}
	return resp, err
}

// containerInfo is the verbose part, for people: nothing may depend on its shape.
type containerInfo struct {
	PodID      string               `json:"sandboxID"`
	State      string               `json:"state"`
	PID        int                  `json:"pid"`
	SnapshotID string               `json:"snapshotID,omitempty"`
	Config     spec.ContainerConfig `json:"config"`
}

func encodeContainerInfo(c pod.ContainerStatus) (map[string]string, error) {
	info := containerInfo{PodID: c.PodID, State: string(c.State), PID: c.PID, SnapshotID: c.SnapshotID, Config: c.Config}
	data, err := json.Marshal(info)
	if err != nil {
		return nil, fmt.Errorf("render the details of container %s: %w", c.ID, err)
	}
	return map[string]string{"info": string(data)}, nil
}
