package rpc

import (
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
)

func encodePod(p pod.PodStatus) *runtimeapi.PodSandbox {
	return &runtimeapi.PodSandbox{
		Id:             p.ID,
		Metadata:       encodePodMetadata(p.Config),
		State:          encodePodState(p),
		CreatedAt:      nanos(p.CreatedAt),
		Labels:         p.Config.Labels,
		Annotations:    p.Config.Annotations,
		RuntimeHandler: p.Config.Handler,
	}
}

func encodePodStatus(p pod.PodStatus) *runtimeapi.PodSandboxStatus {
	return &runtimeapi.PodSandboxStatus{
		Id:        p.ID,
		Metadata:  encodePodMetadata(p.Config),
		State:     encodePodState(p),
		CreatedAt: nanos(p.CreatedAt),
		Network:   encodePodNetwork(p),
		Linux: &runtimeapi.LinuxPodSandboxStatus{
			Namespaces: &runtimeapi.Namespace{Options: encodeNamespaces(p.Config.Security.Namespaces)},
		},
		Labels:         p.Config.Labels,
		Annotations:    p.Config.Annotations,
		RuntimeHandler: p.Config.Handler,
	}
}

func encodePodMetadata(c spec.PodConfig) *runtimeapi.PodSandboxMetadata {
	return &runtimeapi.PodSandboxMetadata{Name: c.Name, Namespace: c.Namespace, Uid: c.UID, Attempt: c.Attempt}
}

func encodePodState(p pod.PodStatus) runtimeapi.PodSandboxState {
	if p.Ready() {
		return runtimeapi.PodSandboxState_SANDBOX_READY
	}
	return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
}

func encodePodNetwork(p pod.PodStatus) *runtimeapi.PodSandboxNetworkStatus {
	network := &runtimeapi.PodSandboxNetworkStatus{}
	for i, ip := range p.IPs {
		if i == 0 {
			network.Ip = ip.String()
			continue
		}
		network.AdditionalIps = append(network.AdditionalIps, &runtimeapi.PodIP{Ip: ip.String()})
	}
	return network
}

func encodeNamespaces(n spec.Namespaces) *runtimeapi.NamespaceOption {
	out := &runtimeapi.NamespaceOption{
		Network:  runtimeapi.NamespaceMode(n.Network),
		Pid:      runtimeapi.NamespaceMode(n.PID),
		Ipc:      runtimeapi.NamespaceMode(n.IPC),
		TargetId: n.TargetID,
	}
	if n.User != nil {
		out.UsernsOptions = &runtimeapi.UserNamespace{
			Mode: runtimeapi.NamespaceMode(n.User.Mode),
			Uids: encodeIDMappings(n.User.UIDs),
			Gids: encodeIDMappings(n.User.GIDs),
		}
	}
	return out
}

func encodeIDMappings(list []spec.IDMapping) []*runtimeapi.IDMapping {
	var out []*runtimeapi.IDMapping
	for _, m := range list {
		out = append(out, &runtimeapi.IDMapping{HostId: m.HostID, ContainerId: m.ContainerID, Length: m.Length})
	}
	return out
}

// nanos is CRI's time: nanoseconds since 1970, 0 for "never".
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
