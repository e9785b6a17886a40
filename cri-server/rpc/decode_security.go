package rpc

import (
	"fmt"
	"math"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/spec"
)

func (d *decoder) namespaces(field string, o *runtimeapi.NamespaceOption) spec.Namespaces {
	mode := func(name string, v runtimeapi.NamespaceMode) spec.NamespaceMode {
		return spec.NamespaceMode(enum(d, field+"."+name, v, runtimeapi.NamespaceMode_TARGET))
	}
	ns := spec.Namespaces{
		Network:  mode("network", o.GetNetwork()),
		PID:      mode("pid", o.GetPid()),
		IPC:      mode("ipc", o.GetIpc()),
		TargetID: d.optionalID(field+".target_id", o.GetTargetId()),
		User:     d.userNamespace(field+".userns_options", o.GetUsernsOptions()),
	}
	if ns.PID == spec.NamespaceTarget && ns.TargetID == "" {
		d.fail(field+".target_id", "is required with the mode TARGET")
	}
	if ns.Network == spec.NamespaceTarget || ns.IPC == spec.NamespaceTarget {
		d.fail(field, "only pid can have the mode TARGET")
	}
	return ns
}

func (d *decoder) userNamespace(field string, u *runtimeapi.UserNamespace) *spec.UserNamespace {
	if u == nil {
		return nil
	}
	if u.GetMode() != runtimeapi.NamespaceMode_POD && u.GetMode() != runtimeapi.NamespaceMode_NODE {
		d.fail(field+".mode", "only POD and NODE are modes of a user namespace")
	}
	return &spec.UserNamespace{
		Mode: spec.NamespaceMode(u.GetMode()),
		UIDs: d.idMappings(field+".uids", u.GetUids()),
		GIDs: d.idMappings(field+".gids", u.GetGids()),
	}
}

// maxMappings is the kernel's limit of lines in uid_map since Linux 4.15 (user_namespaces(7)).
const maxMappings = 340

func (d *decoder) idMappings(field string, list []*runtimeapi.IDMapping) []spec.IDMapping {
	if len(list) > maxMappings {
		d.fail(field, "has %d mappings; the kernel takes %d", len(list), maxMappings)
	}
	var mappings []spec.IDMapping
	for i, m := range list {
		if m.GetLength() == 0 || uint64(m.GetHostId())+uint64(m.GetLength()) > math.MaxUint32 ||
			uint64(m.GetContainerId())+uint64(m.GetLength()) > math.MaxUint32 {
			d.fail(fmt.Sprintf("%s[%d]", field, i), "the range is empty or leaves 32 bits")
		}
		mappings = append(mappings, spec.IDMapping{HostID: m.GetHostId(), ContainerID: m.GetContainerId(), Length: m.GetLength()})
	}
	return mappings
}

func (d *decoder) selinux(field string, o *runtimeapi.SELinuxOption) *spec.SELinux {
	if o == nil {
		return nil
	}
	return &spec.SELinux{
		User:  d.line(field+".user", o.GetUser(), maxName),
		Role:  d.line(field+".role", o.GetRole(), maxName),
		Type:  d.line(field+".type", o.GetType(), maxName),
		Level: d.line(field+".level", o.GetLevel(), maxName),
	}
}

// profile takes the profile of the new field or, when that is not set, of the deprecated string.
func (d *decoder) profile(field string, p *runtimeapi.SecurityProfile, deprecated string) *spec.SecurityProfile {
	if p == nil {
		return d.deprecatedProfile(field, deprecated)
	}
	profile := &spec.SecurityProfile{
		Type: spec.ProfileType(enum(d, field+".profile_type", p.GetProfileType(), runtimeapi.SecurityProfile_Localhost)),
		Ref:  d.line(field+".localhost_ref", p.GetLocalhostRef(), maxPath),
	}
	if profile.Type == spec.ProfileLocalhost && profile.Ref == "" {
		d.fail(field+".localhost_ref", "is required with the type Localhost")
	}
	return profile
}

func (d *decoder) deprecatedProfile(field, v string) *spec.SecurityProfile {
	d.line(field, v, maxPath)
	ref, local := strings.CutPrefix(v, "localhost/")
	switch {
	case v == "":
		return nil
	case v == "unconfined":
		return &spec.SecurityProfile{Type: spec.ProfileUnconfined}
	case v == "runtime/default" || v == "docker/default":
		return &spec.SecurityProfile{Type: spec.ProfileRuntimeDefault}
	case local && ref != "":
		return &spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: ref}
	}
	d.fail(field, "%.128q is none of runtime/default, unconfined and localhost/NAME", v)
	return nil
}

// optionalUID holds a user or group ID to what the kernel takes; -1 stands for "no change" there, so it is no ID.
func (d *decoder) optionalUID(field string, v *runtimeapi.Int64Value) *int64 {
	if v == nil {
		return nil
	}
	id := v.GetValue()
	d.uid(field, id)
	return &id
}

func (d *decoder) uid(field string, id int64) {
	if id < 0 || id >= math.MaxUint32 {
		d.fail(field, "%d is not an ID (0 to %d)", id, uint32(math.MaxUint32-1))
	}
}

func (d *decoder) gids(field string, list []int64) []int64 {
	if len(list) > 65536 {
		d.fail(field, "has %d groups; the kernel takes 65536", len(list))
	}
	for i, id := range list {
		d.uid(fmt.Sprintf("%s[%d]", field, i), id)
	}
	return list
}
