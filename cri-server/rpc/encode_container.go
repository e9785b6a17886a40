package rpc

import (
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
)

func encodeContainer(c pod.ContainerStatus) *runtimeapi.Container {
	return &runtimeapi.Container{
		Id:           c.ID,
		PodSandboxId: c.PodID,
		Metadata:     encodeContainerMetadata(c.Config),
		Image:        encodeImageSpec(c.Config),
		ImageRef:     c.ImageRef,
		ImageId:      c.ImageID,
		State:        encodeContainerState(c.State),
		CreatedAt:    nanos(c.CreatedAt),
		Labels:       c.Config.Labels,
		Annotations:  c.Config.Annotations,
	}
}

func encodeContainerStatus(c pod.ContainerStatus) *runtimeapi.ContainerStatus {
	return &runtimeapi.ContainerStatus{
		Id:          c.ID,
		Metadata:    encodeContainerMetadata(c.Config),
		State:       encodeContainerState(c.State),
		CreatedAt:   nanos(c.CreatedAt),
		StartedAt:   nanos(c.StartedAt),
		FinishedAt:  nanos(c.FinishedAt),
		ExitCode:    c.ExitCode,
		Image:       encodeImageSpec(c.Config),
		ImageRef:    c.ImageRef,
		ImageId:     c.ImageID,
		Reason:      c.Reason,
		Message:     c.Message,
		Labels:      c.Config.Labels,
		Annotations: c.Config.Annotations,
		Mounts:      encodeMounts(c.Config.Mounts),
		LogPath:     c.LogPath,
		Resources:   encodeContainerResources(c.Config.Resources),
		User:        encodeUser(c.User),
		StopSignal:  encodeSignal(c.StopSignal),
	}
}

func encodeContainerMetadata(c spec.ContainerConfig) *runtimeapi.ContainerMetadata {
	return &runtimeapi.ContainerMetadata{Name: c.Name, Attempt: c.Attempt}
}

// encodeImageSpec shows the name that the user wrote: the kubelet asks for images by ID, and people want to read a name.
func encodeImageSpec(c spec.ContainerConfig) *runtimeapi.ImageSpec {
	name := c.UserSpecifiedImage
	if name == "" {
		name = c.Image
	}
	return &runtimeapi.ImageSpec{Image: name, Annotations: c.ImageAnnotations, UserSpecifiedImage: c.UserSpecifiedImage}
}

func encodeContainerState(s pod.ContainerState) runtimeapi.ContainerState {
	switch s {
	case pod.ContainerCreating, pod.ContainerCreated, pod.ContainerStarting:
		return runtimeapi.ContainerState_CONTAINER_CREATED
	case pod.ContainerRunning:
		return runtimeapi.ContainerState_CONTAINER_RUNNING
	case pod.ContainerExited, pod.ContainerRemoving:
		return runtimeapi.ContainerState_CONTAINER_EXITED
	default:
		return runtimeapi.ContainerState_CONTAINER_UNKNOWN
	}
}

func encodeMounts(list []spec.Mount) []*runtimeapi.Mount {
	var out []*runtimeapi.Mount
	for _, m := range list {
		mount := &runtimeapi.Mount{
			ContainerPath:     m.ContainerPath,
			HostPath:          m.HostPath,
			Readonly:          m.Readonly,
			RecursiveReadOnly: m.RecursiveReadonly,
			SelinuxRelabel:    m.SELinuxRelabel,
			Propagation:       runtimeapi.MountPropagation(m.Propagation),
			UidMappings:       encodeIDMappings(m.UIDs),
			GidMappings:       encodeIDMappings(m.GIDs),
			ImageSubPath:      m.ImageSubPath,
			MountOptions:      m.Options,
		}
		if m.Image != nil {
			mount.Image = &runtimeapi.ImageSpec{Image: m.Image.Image, ImageRef: m.Image.Resolved}
		}
		out = append(out, mount)
	}
	return out
}

// encodeUser tells who the first process is, whether the image or the request said so.
func encodeUser(u pod.User) *runtimeapi.ContainerUser {
	linux := &runtimeapi.LinuxContainerUser{Uid: int64(u.UID), Gid: int64(u.GID)}
	for _, gid := range u.Groups {
		linux.SupplementalGroups = append(linux.SupplementalGroups, int64(gid))
	}
	return &runtimeapi.ContainerUser{Linux: linux}
}

func encodeContainerResources(r *spec.Resources) *runtimeapi.ContainerResources {
	if r == nil {
		return nil
	}
	linux := &runtimeapi.LinuxContainerResources{
		CpuPeriod:              r.CPUPeriod,
		CpuQuota:               r.CPUQuota,
		CpuShares:              r.CPUShares,
		MemoryLimitInBytes:     r.Memory,
		MemorySwapLimitInBytes: r.MemorySwap,
		OomScoreAdj:            r.OOMScoreAdj,
		CpusetCpus:             r.CPUSetCPUs,
		CpusetMems:             r.CPUSetMems,
		Unified:                r.Unified,
	}
	for _, h := range r.Hugepages {
		linux.HugepageLimits = append(linux.HugepageLimits, &runtimeapi.HugepageLimit{PageSize: h.PageSize, Limit: h.Limit})
	}
	return &runtimeapi.ContainerResources{Linux: linux}
}
