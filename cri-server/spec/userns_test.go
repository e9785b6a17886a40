package spec_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func idRange(host uint32) []spec.IDMapping { return []spec.IDMapping{{HostID: host, Length: 65536}} }

func users(change func(*spec.UserNamespace)) func(*spec.PodConfig) {
	return func(p *spec.PodConfig) {
		p.Security.Namespaces.User = &spec.UserNamespace{Mode: spec.NamespacePod, UIDs: idRange(65536), GIDs: idRange(131072)}
		if change != nil {
			change(p.Security.Namespaces.User)
		}
	}
}

func TestCheckPodUsers(t *testing.T) {
	for name, c := range map[string]struct {
		kind   error
		change func(*spec.PodConfig)
	}{
		"POD":                    {nil, users(nil)},
		"NODE":                   {nil, users(func(u *spec.UserNamespace) { *u = spec.UserNamespace{Mode: spec.NamespaceNode} })},
		"NODE with mappings":     {errdefs.ErrInvalid, users(func(u *spec.UserNamespace) { u.Mode = spec.NamespaceNode })},
		"CONTAINER":              {errdefs.ErrInvalid, users(func(u *spec.UserNamespace) { u.Mode = spec.NamespaceContainer })},
		"TARGET":                 {errdefs.ErrInvalid, users(func(u *spec.UserNamespace) { u.Mode = spec.NamespaceTarget })},
		"no users":               {errdefs.ErrInvalid, users(func(u *spec.UserNamespace) { u.UIDs = nil })},
		"no groups":              {errdefs.ErrInvalid, users(func(u *spec.UserNamespace) { u.GIDs = nil })},
		"two ranges":             {errdefs.ErrInvalid, users(func(u *spec.UserNamespace) { u.UIDs = append(u.UIDs, u.UIDs[0]) })},
		"root is not mapped":     {errdefs.ErrInvalid, users(func(u *spec.UserNamespace) { u.GIDs[0].ContainerID = 1 })},
		"no length":              {errdefs.ErrInvalid, users(func(u *spec.UserNamespace) { u.UIDs[0].Length = 0 })},
		"beyond 32 bits":         {errdefs.ErrInvalid, users(func(u *spec.UserNamespace) { u.UIDs[0].HostID = 1<<32 - 1 })},
		"with the host's net":    {errdefs.ErrNotSupported, func(p *spec.PodConfig) { users(nil)(p); p.Security.Namespaces.Network = spec.NamespaceNode }},
		"with the host's PIDs":   {errdefs.ErrInvalid, func(p *spec.PodConfig) { users(nil)(p); p.Security.Namespaces.PID = spec.NamespaceNode }},
		"with the host's IPC":    {errdefs.ErrInvalid, func(p *spec.PodConfig) { users(nil)(p); p.Security.Namespaces.IPC = spec.NamespaceNode }},
		"with own PIDs and IPC":  {nil, func(p *spec.PodConfig) { users(nil)(p); p.Security.Namespaces.PID = spec.NamespaceContainer }},
		"privileged, as root is": {nil, func(p *spec.PodConfig) { users(nil)(p); p.Security.Privileged = true }},
	} {
		t.Run(name, func(t *testing.T) {
			p := plain().Pod
			c.change(&p)
			if err := spec.CheckPod(p); !errors.Is(err, c.kind) || c.kind == nil && err != nil {
				t.Errorf("error %v, want %v", err, c.kind)
			}
		})
	}
}

func TestContainerUsers(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		change func(*spec.Input)
	}{
		"the pod's, not said": {"", func(*spec.Input) {}},
		"the pod's":           {"", func(in *spec.Input) { in.Container.Security.Namespaces.User = in.Pod.Security.Namespaces.User }},
		"the host's": {"the host's user namespace is asked for", func(in *spec.Input) {
			in.Container.Security.Namespaces.User = &spec.UserNamespace{Mode: spec.NamespaceNode}
		}},
		"another": {"another user namespace", func(in *spec.Input) {
			in.Container.Security.Namespaces.User = &spec.UserNamespace{UIDs: idRange(1), GIDs: idRange(1)}
		}},
		"a mount that reaches the host": {"bidirectional propagation", func(in *spec.Input) {
			in.Container.Mounts = []spec.Mount{{ContainerPath: "/v", HostPath: "/v", Propagation: spec.PropagationBidirectional}}
		}},
		"a mount of users alone": {"users or of groups alone", func(in *spec.Input) {
			in.Container.Mounts = []spec.Mount{{ContainerPath: "/v", HostPath: "/v", UIDs: idRange(1)}}
		}},
		"an image of others": {"an image's mapped IDs", func(in *spec.Input) {
			in.Container.Mounts = []spec.Mount{{ContainerPath: "/v", Image: &spec.ImageVolume{Image: "x"}, UIDs: idRange(1), GIDs: idRange(1)}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			in := plain()
			users(nil)(&in.Pod)
			in.Paths.UserNS = "/ns/user"
			c.change(&in)
			s, err := spec.Build(in)
			if c.text != "" {
				if err == nil || !strings.Contains(err.Error(), c.text) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := []specs.LinuxIDMapping{{HostID: 65536, Size: 65536}}
			if d := cmp.Diff(want, s.Linux.UIDMappings); d != "" {
				t.Error(d)
			}
			last := s.Linux.Namespaces[len(s.Linux.Namespaces)-1]
			if last != (specs.LinuxNamespace{Type: specs.UserNamespace, Path: "/ns/user"}) {
				t.Errorf("namespaces %+v", s.Linux.Namespaces)
			}
		})
	}
}

func TestMappedMounts(t *testing.T) {
	in := plain()
	users(nil)(&in.Pod)
	in.Paths.UserNS = "/ns/user"
	in.Container.Mounts = []spec.Mount{
		{ContainerPath: "/v", HostPath: "/host", UIDs: idRange(65536), GIDs: idRange(131072)},
		{ContainerPath: "/image", Image: &spec.ImageVolume{Image: "x"}, UIDs: idRange(65536), GIDs: idRange(131072)},
	}
	s, err := spec.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range s.Mounts {
		mapped := strings.Contains(strings.Join(m.Options, ","), "idmap")
		if mapped != (m.Destination == "/v") || mapped != (len(m.UIDMappings)+len(m.GIDMappings) == 2) {
			t.Errorf("%+v", m)
		}
	}
}
