package spec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// plain is a container as the kubelet asks for it, in a pod with everything of its own.
func plain() spec.Input {
	return spec.Input{
		ID: "c0ffee", PodID: "0123456789abcdef",
		Pod: spec.PodConfig{Name: "web", Namespace: "default", UID: "u-1", Hostname: "web-0", LogDirectory: "/var/log/pods/web"},
		Container: spec.ContainerConfig{
			Name: "main", Image: "docker.io/library/busybox:1", LogPath: "main/0.log",
			Env:       []spec.EnvVar{{Key: "A", Value: []byte("1")}, {Key: "PATH", Value: []byte("/bin")}},
			Resources: &spec.Resources{CPUPeriod: 100000, CPUQuota: 50000, CPUShares: 512, Memory: 64 << 20, OOMScoreAdj: 937},
			Mounts: []spec.Mount{
				{ContainerPath: "/data/deep", HostPath: "/srv/deep", Readonly: true, RecursiveReadonly: true},
				{ContainerPath: "/data", HostPath: "/srv/data", Propagation: spec.PropagationHostToContainer},
				{ContainerPath: "/etc/hosts", HostPath: "/var/lib/kubelet/etc-hosts"},
			},
			Security: spec.ContainerSecurity{Namespaces: spec.Namespaces{PID: spec.NamespaceContainer}},
		},
		Image: spec.Image{Entrypoint: []string{"/entry"}, Cmd: []string{"serve"}, Env: []string{"A=0", "B=2"}, WorkingDir: "/srv"},
		User:  spec.User{UID: 1000, GID: 1000, Groups: []uint32{10}, Home: "/home/web"},
		Paths: spec.Paths{
			NetNS: "/ns/net", IPCNS: "/ns/ipc", UTSNS: "/ns/uts", Shm: "/pod/shm", Hosts: "/pod/hosts", Hostname: "/pod/hostname",
			Resolv: "/pod/resolv.conf",
		},
		Cgroup: "/kubepods/podu-1/c0ffee",
		Host:   spec.Host{Hostname: "node", Capabilities: spec.CapabilitiesFromMask(1<<41 - 1), NoFile: 1 << 20, HugepageSizes: []string{"2MB"}},
	}
}

func TestGolden(t *testing.T) {
	for name, change := range map[string]func(*spec.Input){
		"plain": func(*spec.Input) {},
		"privileged-host": func(in *spec.Input) {
			node := spec.Namespaces{Network: spec.NamespaceNode, PID: spec.NamespaceNode, IPC: spec.NamespaceNode}
			in.Pod.Security.Namespaces = node
			in.Container.Security = spec.ContainerSecurity{Privileged: true, Namespaces: node}
			in.Container.Mounts = nil
			in.Paths = spec.Paths{Shm: "/dev/shm", Hosts: "/pod/hosts", Resolv: "/pod/resolv.conf", Hostname: "/pod/hostname"}
			in.Devices = []spec.DeviceNode{{Path: "/dev/kvm", Type: "c", Major: 10, Minor: 232, Mode: 0o660}}
		},
		"terminal-readonly": func(in *spec.Input) {
			in.Container.TTY, in.Container.Security.ReadonlyRootfs, in.Container.Security.NoNewPrivs = true, true, true
			in.Container.Security.Namespaces.PID = spec.NamespacePod
			in.Paths.PIDNS = "/proc/7/ns/pid"
			in.Container.Mounts = nil
			in.Volumes = []spec.Volume{{Path: "/var/lib/db", Source: "/volumes/0"}}
			in.Container.Security.Capabilities = &spec.Capabilities{Add: []string{"net_admin"}, Drop: []string{"ALL"}, Ambient: []string{"CAP_NET_BIND_SERVICE"}}
			in.Container.Devices = []spec.Device{{HostPath: "/dev/fuse", ContainerPath: "/dev/fuse", Permissions: "rw"}}
			in.Devices = []spec.DeviceNode{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229, Mode: 0o666, Permissions: "rw"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := plain()
			change(&in)
			s, err := spec.Build(in)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, s)
		})
	}
}

func TestGoldenPause(t *testing.T) {
	s, err := spec.Pause("0123", spec.PodConfig{}, spec.Paths{NetNS: "/ns/net", IPCNS: "/ns/ipc", UTSNS: "/ns/uts"}, "/kubepods/podu-1/0123-pause", "/pause", nil, plain().Host)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "pause", s)
}

func golden(t *testing.T, name string, s any) {
	t.Helper()
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Error(cmp.Diff(string(want), string(got)))
	}
}

func TestCommandAndEnvironment(t *testing.T) {
	image := spec.Image{Entrypoint: []string{"/entry", "-x"}, Cmd: []string{"serve"}}
	for _, tt := range []struct {
		name          string
		image         spec.Image
		command, args []string
		want          []string
	}{
		{"the image's own", image, nil, nil, []string{"/entry", "-x", "serve"}},
		{"arguments replace arguments", image, nil, []string{"a"}, []string{"/entry", "-x", "a"}},
		{"a command replaces both", image, []string{"/bin/sh"}, nil, []string{"/bin/sh"}},
		{"both given", image, []string{"/bin/sh"}, []string{"-c", "x"}, []string{"/bin/sh", "-c", "x"}},
		{"an entrypoint of one empty string is none", spec.Image{Entrypoint: []string{""}, Cmd: []string{"ls"}}, nil, nil, []string{"ls"}},
	} {
		in := plain()
		in.Image, in.Container.Command, in.Container.Args = tt.image, tt.command, tt.args
		s, err := spec.Build(in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if d := cmp.Diff(tt.want, s.Process.Args); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
	in := plain()
	in.Image.Cmd = []string{"a\x00b"}
	if _, err := spec.Build(in); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("an image with a NUL: %v", err)
	}
	in.Image = spec.Image{}
	if _, err := spec.Build(in); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("nothing to run: %v", err)
	}
}

func TestUsersAndGroups(t *testing.T) {
	id := func(n int64) *int64 { return &n }
	for _, tt := range []struct {
		name     string
		security spec.ContainerSecurity
		image    string
		query    string
		groups   []uint32
	}{
		{"nobody says", spec.ContainerSecurity{}, "", "", []uint32{1000, 10}},
		{"the image's", spec.ContainerSecurity{}, "web:www", "web:www", []uint32{1000, 10}},
		{"by number", spec.ContainerSecurity{RunAsUser: id(7)}, "web", "7", []uint32{1000, 10}},
		{"with group", spec.ContainerSecurity{RunAsUser: id(7), RunAsGroup: id(8)}, "", "7:8", []uint32{1000, 10}},
		{"by name with group", spec.ContainerSecurity{RunAsUsername: "db", RunAsGroup: id(8)}, "", "db:8", []uint32{1000, 10}},
		{"merged", spec.ContainerSecurity{SupplementalGroups: []int64{20, 10}}, "", "", []uint32{1000, 20, 10}},
		{"strict", spec.ContainerSecurity{SupplementalGroups: []int64{20}, GroupsPolicy: spec.GroupsStrict}, "", "", []uint32{1000, 20}},
	} {
		c := spec.ContainerConfig{Name: "c", Image: "i", Security: tt.security}
		if got := spec.QueryUser(c, spec.Image{User: tt.image}); got != tt.query {
			t.Errorf("%s: query %q, want %q", tt.name, got, tt.query)
		}
		if d := cmp.Diff(tt.groups, spec.Groups(c, plain().User)); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

func TestCapabilities(t *testing.T) {
	all := spec.CapabilitiesFromMask(1<<41 - 1)
	for _, tt := range []struct {
		name        string
		security    spec.ContainerSecurity
		host        []string
		has, hasNot []string
		ambient     []string
	}{
		{"default", spec.ContainerSecurity{}, all, []string{"CAP_CHOWN", "CAP_KILL"}, []string{"CAP_SYS_ADMIN"}, nil},
		{"add in any spelling", spec.ContainerSecurity{Capabilities: &spec.Capabilities{Add: []string{"Sys_Admin"}}}, all, []string{"CAP_SYS_ADMIN"}, nil, nil},
		{"drop all, add one", spec.ContainerSecurity{Capabilities: &spec.Capabilities{Add: []string{"KILL"}, Drop: []string{"all"}}}, all, []string{"CAP_KILL"}, []string{"CAP_CHOWN"}, nil},
		{"add all, drop one", spec.ContainerSecurity{Capabilities: &spec.Capabilities{Add: []string{"ALL"}, Drop: []string{"CHOWN"}}}, all, []string{"CAP_SYS_BOOT"}, []string{"CAP_CHOWN"}, nil},
		{"privileged", spec.ContainerSecurity{Privileged: true}, all, all, nil, nil},
		{"privileged in a nested set-up", spec.ContainerSecurity{Privileged: true}, []string{"CAP_KILL"}, []string{"CAP_KILL"}, []string{"CAP_CHOWN"}, nil},
		{"ambient", spec.ContainerSecurity{Capabilities: &spec.Capabilities{Ambient: []string{"NET_ADMIN"}}}, all, []string{"CAP_NET_ADMIN"}, nil, []string{"CAP_NET_ADMIN"}},
	} {
		in := plain()
		tt.security.Namespaces.PID = spec.NamespaceContainer
		in.Container.Security, in.Host.Capabilities = tt.security, tt.host
		s, err := spec.Build(in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		c := s.Process.Capabilities
		for _, set := range [][]string{c.Bounding, c.Permitted, c.Effective} {
			for _, want := range tt.has {
				if !slices.Contains(set, want) {
					t.Errorf("%s: %s is missing in %v", tt.name, want, set)
				}
			}
			for _, no := range tt.hasNot {
				if slices.Contains(set, no) {
					t.Errorf("%s: %s in %v", tt.name, no, set)
				}
			}
		}
		if d := cmp.Diff(tt.ambient, append([]string(nil), c.Ambient...)); d != "" || !cmp.Equal(c.Ambient, c.Inheritable) {
			t.Errorf("%s: ambient %v, inheritable %v", tt.name, c.Ambient, c.Inheritable)
		}
	}
}

func TestMounts(t *testing.T) {
	mountOf := func(s *specs.Spec, to string) (found []specs.Mount) {
		for _, m := range s.Mounts {
			if m.Destination == to {
				found = append(found, m)
			}
		}
		return found
	}
	in := plain()
	in.Container.Mounts = []spec.Mount{
		{ContainerPath: "/dev/", HostPath: "/dev"},
		{ContainerPath: "/both", HostPath: "/a", Propagation: spec.PropagationBidirectional, Options: []string{"noexec", "nosuid"}},
		{ContainerPath: "/image", Image: &spec.ImageVolume{Image: "data"}},
		{ContainerPath: "/vol", HostPath: "/mine"},
	}
	in.Volumes = []spec.Volume{{Path: "/vol", Source: "/volumes/0"}, {Path: "/other", Source: "/volumes/1"}}
	s, err := spec.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	if got := mountOf(s, "/dev"); len(got) != 1 || got[0].Type != "bind" {
		t.Errorf("/dev: %+v", got)
	}
	for _, gone := range []string{"/dev/pts", "/dev/shm", "/dev/mqueue"} {
		if got := mountOf(s, gone); len(got) != 0 {
			t.Errorf("%s over the client's /dev: %+v", gone, got)
		}
	}
	if d := cmp.Diff([]string{"rbind", "rshared", "rw", "noexec", "nosuid"}, mountOf(s, "/both")[0].Options); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"rbind", "rprivate", "ro"}, mountOf(s, "/image")[0].Options); d != "" {
		t.Error(d)
	}
	if got := mountOf(s, "/vol"); len(got) != 1 || got[0].Source != "/mine" {
		t.Errorf("the client's mount and the image's volume: %+v", got)
	}
	if s.Linux.RootfsPropagation != "rshared" || len(mountOf(s, "/other")) != 1 {
		t.Errorf("propagation %q, volume %v", s.Linux.RootfsPropagation, mountOf(s, "/other"))
	}
}

func TestMasks(t *testing.T) {
	in := plain()
	s, err := spec.Build(in)
	if err != nil || !slices.Contains(s.Linux.MaskedPaths, "/proc/kcore") || !slices.Contains(s.Linux.ReadonlyPaths, "/proc/sys") {
		t.Errorf("nobody says: %v, %v, %v", s.Linux.MaskedPaths, s.Linux.ReadonlyPaths, err)
	}
	in.Container.Security.MaskedPaths = []string{"/proc/acpi"}
	s, err = spec.Build(in)
	if err != nil || !cmp.Equal(s.Linux.MaskedPaths, []string{"/proc/acpi"}) || len(s.Linux.ReadonlyPaths) != 0 {
		t.Errorf("given: %v, %v, %v", s.Linux.MaskedPaths, s.Linux.ReadonlyPaths, err)
	}
}

func TestExecProcess(t *testing.T) {
	s, err := spec.Build(plain())
	if err != nil {
		t.Fatal(err)
	}
	p, err := spec.ExecProcess(s, []string{"ls"}, true)
	if err != nil || !p.Terminal || !slices.Contains(p.Env, "TERM=xterm") || slices.Contains(s.Process.Env, "TERM=xterm") || p.User.UID != 1000 {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := spec.ExecProcess(s, nil, false); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("no command: %v", err)
	}
}

// FuzzBuild feeds whatever a client may send: what is accepted must be safe to hand to the kernel.
func FuzzBuild(f *testing.F) {
	seed, err := json.Marshal(plain().Container)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, "/entry", "A=1", "1000:1000", "/vol")
	f.Fuzz(func(t *testing.T, config []byte, entrypoint, env, user, volume string) {
		in := plain()
		in.Container = spec.ContainerConfig{}
		if json.Unmarshal(config, &in.Container) != nil {
			return
		}
		in.Image = spec.Image{Entrypoint: []string{entrypoint}, Env: []string{env}, User: user, Volumes: map[string]struct{}{volume: {}}}
		in.Paths.PIDNS = "/proc/7/ns/pid"
		s, err := spec.Build(in)
		if err != nil {
			return
		}
		for _, e := range s.Process.Env {
			if strings.ContainsRune(e, 0) || strings.HasPrefix(e, "=") {
				t.Errorf("environment %q", e)
			}
		}
		for _, a := range append(s.Process.Args, s.Process.Cwd) {
			if strings.ContainsRune(a, 0) {
				t.Errorf("argument or folder %q", a)
			}
		}
		for _, m := range s.Mounts {
			if !filepath.IsAbs(m.Destination) || filepath.Clean(m.Destination) != m.Destination || m.Destination == "/" {
				t.Errorf("mount on %q", m.Destination)
			}
		}
		if !strings.HasPrefix(s.Linux.CgroupsPath, "/kubepods/podu-1/") {
			t.Errorf("cgroup %q", s.Linux.CgroupsPath)
		}
		if log := spec.LogPath(in.Pod, in.Container); log != "" && !strings.HasPrefix(log, "/var/log/pods/web/") {
			t.Errorf("log %q", log)
		}
		for _, ns := range s.Linux.Namespaces {
			if ns.Type == specs.NetworkNamespace && ns.Path != "/ns/net" {
				t.Errorf("network namespace %q", ns.Path)
			}
		}
	})
}
