package rpc

import (
	"fmt"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/spec"
)

func (d *decoder) mounts(field string, list []*runtimeapi.Mount) []spec.Mount {
	d.count(field, len(list))
	var mounts []spec.Mount
	for i, m := range list {
		mounts = append(mounts, d.mount(fmt.Sprintf("%s[%d]", field, i), m))
	}
	return mounts
}

func (d *decoder) mount(field string, m *runtimeapi.Mount) spec.Mount {
	isImage := m.GetImage().GetImage() != ""
	switch {
	case m.GetContainerPath() == "":
		d.fail(field+".container_path", "is required")
	case isImage && m.GetHostPath() != "":
		d.fail(field, "host_path and image exclude each other")
	case !isImage && m.GetHostPath() == "":
		d.fail(field+".host_path", "is required")
	case !isImage && m.GetImageSubPath() != "":
		d.fail(field+".image_sub_path", "needs image")
	}
	if m.GetRecursiveReadOnly() && !m.GetReadonly() {
		d.fail(field+".recursive_read_only", "needs readonly")
	}
	if m.GetRecursiveReadOnly() && m.GetPropagation() != runtimeapi.MountPropagation_PROPAGATION_PRIVATE {
		d.fail(field+".recursive_read_only", "needs the propagation PROPAGATION_PRIVATE")
	}
	out := spec.Mount{
		ContainerPath:     d.absPath(field+".container_path", m.GetContainerPath()),
		HostPath:          d.absPath(field+".host_path", m.GetHostPath()),
		Readonly:          m.GetReadonly(),
		RecursiveReadonly: m.GetRecursiveReadOnly(),
		SELinuxRelabel:    m.GetSelinuxRelabel(),
		Propagation: spec.Propagation(enum(d, field+".propagation", m.GetPropagation(),
			runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL)),
		UIDs:         d.idMappings(field+".uidMappings", m.GetUidMappings()),
		GIDs:         d.idMappings(field+".gidMappings", m.GetGidMappings()),
		ImageSubPath: d.text(field+".image_sub_path", m.GetImageSubPath(), maxPath),
		Options:      d.lines(field+".mount_options", m.GetMountOptions(), 256),
	}
	if isImage {
		out.Image = &spec.ImageVolume{Image: d.line(field+".image.image", m.GetImage().GetImage(), maxImage)}
	}
	return out
}
