package spec_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestSELinuxLabels(t *testing.T) {
	full := &spec.SELinux{User: "u", Role: "r", Type: "t", Level: "s0:c1,c2"}
	level := &spec.SELinux{Level: "s0:c3"}
	for name, c := range map[string]struct {
		pod, container *spec.SELinux
		privileged     bool
		want           spec.Labels
	}{
		"none":                 {},
		"empty":                {pod: &spec.SELinux{}, container: &spec.SELinux{}},
		"all":                  {nil, full, false, spec.Labels{Process: "u:r:t:s0:c1,c2", Files: "u:object_r:container_file_t:s0:c1,c2"}},
		"level":                {nil, level, false, spec.Labels{Process: "system_u:system_r:container_t:s0:c3", Files: "system_u:object_r:container_file_t:s0:c3"}},
		"the pod's":            {full, &spec.SELinux{}, false, spec.Labels{Process: "u:r:t:s0:c1,c2", Files: "u:object_r:container_file_t:s0:c1,c2"}},
		"not the pod's":        {full, level, false, spec.Labels{Process: "system_u:system_r:container_t:s0:c3", Files: "system_u:object_r:container_file_t:s0:c3"}},
		"privileged":           {nil, full, true, spec.Labels{Files: "u:object_r:container_file_t:s0:c1,c2"}},
		"without a level":      {nil, &spec.SELinux{Type: "spc_t"}, false, spec.Labels{Process: "system_u:system_r:spc_t:s0:c273,c662", Files: "system_u:object_r:container_file_t:s0:c273,c662"}},
		"privileged, no label": {nil, nil, true, spec.Labels{}},
	} {
		in := plain()
		in.Host.SELinux = true
		in.Pod.Security.SELinux, in.Container.Security.SELinux, in.Container.Security.Privileged = c.pod, c.container, c.privileged
		s, err := spec.Build(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := (spec.Labels{Process: s.Process.SelinuxLabel, Files: s.Linux.MountLabel}); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if spec.SELinuxIgnored(in.Host, in.Pod, in.Container) {
			t.Errorf("%s: ignored", name)
		}
		in.Host.SELinux = false
		if s, err = spec.Build(in); err != nil || s.Process.SelinuxLabel+s.Linux.MountLabel != "" {
			t.Errorf("%s, without SELinux: %q, %q, %v", name, s.Process.SelinuxLabel, s.Linux.MountLabel, err)
		}
		if spec.SELinuxIgnored(in.Host, in.Pod, in.Container) != (c.want != spec.Labels{}) {
			t.Errorf("%s, without SELinux: ignored", name)
		}
	}
}

// The pod's own process, which its containers can see, has the pod's label.
func TestPauseHasThePodsLabel(t *testing.T) {
	in := plain()
	in.Host.SELinux = true
	in.Pod.Security.SELinux = &spec.SELinux{Level: "s0:c5,c6"}
	s, err := spec.Pause(in.PodID, in.Pod, in.Paths, "/c", "/pause", nil, in.Host)
	if err != nil || s.Process.SelinuxLabel != "system_u:system_r:container_t:s0:c5,c6" || s.Linux.MountLabel != "system_u:object_r:container_file_t:s0:c5,c6" {
		t.Errorf("%q, %q, %v", s.Process.SelinuxLabel, s.Linux.MountLabel, err)
	}
}

// Only what was made for the pod is labelled, and what asks for it: a host path that is mounted over one of the pod's
// files was, elsewhere (CVE-2021-43816).
func TestCVE_2021_43816_LabelledPaths(t *testing.T) {
	in := plain()
	in.Volumes = []spec.Volume{{Path: "/vol", Source: "/var/vol/0"}}
	in.Container.Mounts = []spec.Mount{
		{ContainerPath: "/etc/hosts", HostPath: "/etc/shadow"},
		{ContainerPath: "/dev/shm", HostPath: "/root"},
		{ContainerPath: "/image", Image: &spec.ImageVolume{Image: "i"}, SELinuxRelabel: true},
		{ContainerPath: "/asked", HostPath: "/srv/asked", SELinuxRelabel: true},
	}
	if got, want := spec.LabelledPaths(in), []string{"/pod/hosts", "/pod/hostname", "/pod/resolv.conf", "/pod/shm", "/var/vol/0", "/srv/asked"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	in.Pod.Security.Namespaces.IPC = spec.NamespaceNode
	if got := spec.LabelledPaths(in); slices.Contains(got, "/pod/shm") {
		t.Errorf("with the host's shared memory: %q", got)
	}
}

// Options become a label of four parts and no more (a level may have one colon in it), or are refused.
func FuzzSELinux(f *testing.F) {
	f.Add("u", "r", "t", "s0:c1,c2")
	f.Add("", "", "", "s0-s15:c0.c1023")
	f.Add("a:b", "r\n", "", "s0:c1:c2")
	f.Fuzz(func(t *testing.T, user, role, kind, level string) {
		in := plain()
		in.Host.SELinux = true
		in.Container.Security.SELinux = &spec.SELinux{User: user, Role: role, Type: kind, Level: level}
		s, err := spec.Build(in)
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		for _, label := range []string{s.Process.SelinuxLabel, s.Linux.MountLabel} {
			if n := strings.Count(label, ":"); label != "" && (n < 3 || n > 4) || len(label) > 255 || strings.ContainsAny(label, " \n\x00\"\\") {
				t.Fatalf("label %q", label)
			}
		}
	})
}
