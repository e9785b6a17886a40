package rpc

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func fullPod() *runtimeapi.PodSandboxConfig {
	return &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: "n", Namespace: "ns", Uid: "u", Attempt: 2},
		Hostname:     "host",
		LogDirectory: "/var/log/x",
		DnsConfig:    &runtimeapi.DNSConfig{Servers: []string{"10.0.0.1"}, Searches: []string{"a.b"}, Options: []string{"ndots:5"}},
		PortMappings: []*runtimeapi.PortMapping{{Protocol: runtimeapi.Protocol_UDP, ContainerPort: 53, HostPort: 5353, HostIp: "127.0.0.1"}},
		Labels:       map[string]string{"a": "b"},
		Annotations:  map[string]string{"c": "d\n\x01"},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: "/kubepods/x",
			Sysctls:      map[string]string{"net.core.somaxconn": "1024"},
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{
					Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_CONTAINER,
				},
				RunAsUser:          &runtimeapi.Int64Value{Value: 7},
				RunAsGroup:         &runtimeapi.Int64Value{Value: 8},
				SupplementalGroups: []int64{9},
				Seccomp:            &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "/p"},
			},
			Overhead:  &runtimeapi.LinuxContainerResources{CpuShares: 2},
			Resources: &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 1 << 20},
		},
	}
}

func TestPodConfig(t *testing.T) {
	var d decoder
	got := d.podConfig(fullPod(), "h")
	if d.err != nil {
		t.Fatal(d.err)
	}
	uid, gid := int64(7), int64(8)
	want := spec.PodConfig{
		Name: "n", Namespace: "ns", UID: "u", Attempt: 2, Hostname: "host", LogDirectory: "/var/log/x",
		DNS:    &spec.DNS{Servers: []string{"10.0.0.1"}, Searches: []string{"a.b"}, Options: []string{"ndots:5"}},
		Ports:  []spec.PortMapping{{Protocol: spec.UDP, ContainerPort: 53, HostPort: 5353, HostIP: "127.0.0.1"}},
		Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d\n\x01"}, Handler: "h",
		CgroupParent: "/kubepods/x", Sysctls: map[string]string{"net.core.somaxconn": "1024"},
		Security: spec.PodSecurity{
			Namespaces: spec.Namespaces{Network: spec.NamespaceNode, PID: spec.NamespaceContainer},
			RunAsUser:  &uid, RunAsGroup: &gid, SupplementalGroups: []int64{9},
			Seccomp: &spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: "/p"},
		},
		Overhead: &spec.Resources{CPUShares: 2}, Resources: &spec.Resources{Memory: 1 << 20},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestPodConfigMayHoldAlmostNothing(t *testing.T) {
	var d decoder
	got := d.podConfig(&runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "n"}}, "")
	if d.err != nil {
		t.Fatal(d.err)
	}
	if diff := cmp.Diff(spec.PodConfig{Name: "n"}, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestBadPodsAreRefusedByField(t *testing.T) {
	for want, change := range map[string]func(*runtimeapi.PodSandboxConfig){
		"config.metadata: is required":                  func(c *runtimeapi.PodSandboxConfig) { c.Metadata = nil },
		"config.metadata.name: is required":             func(c *runtimeapi.PodSandboxConfig) { c.Metadata.Name = "" },
		"config.metadata.name: has 254 bytes":           func(c *runtimeapi.PodSandboxConfig) { c.Metadata.Name = strings.Repeat("x", 254) },
		"config.metadata.uid: holds a control":          func(c *runtimeapi.PodSandboxConfig) { c.Metadata.Uid = "a\nb" },
		"config.hostname: holds a control":              func(c *runtimeapi.PodSandboxConfig) { c.Hostname = "a\n10.0.0.1 evil" },
		"config.log_directory: \"var\" is not absolute": func(c *runtimeapi.PodSandboxConfig) { c.LogDirectory = "var" },
		"config.dns_config.searches[0]: holds":          func(c *runtimeapi.PodSandboxConfig) { c.DnsConfig.Searches[0] = "a\nnameserver x" },
		"config.port_mappings[0].host_port: 65536":      func(c *runtimeapi.PodSandboxConfig) { c.PortMappings[0].HostPort = 65536 },
		"config.port_mappings[0].container_port: is":    func(c *runtimeapi.PodSandboxConfig) { c.PortMappings[0].ContainerPort = 0 },
		"config.port_mappings[0].host_ip: \"x\"":        func(c *runtimeapi.PodSandboxConfig) { c.PortMappings[0].HostIp = "x" },
		"config.port_mappings[0].protocol: unknown":     func(c *runtimeapi.PodSandboxConfig) { c.PortMappings[0].Protocol = 9 },
		"namespace_options.pid: unknown value -1":       func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.NamespaceOptions.Pid = -1 },
		"namespace_options: only pid can":               func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.NamespaceOptions.Network = 3 },
		"run_as_group: needs run_as_user":               func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.RunAsUser = nil },
		"run_as_user: -1 is not an ID":                  func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.RunAsUser.Value = -1 },
		"run_as_user: 4294967295 is not an ID":          func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.RunAsUser.Value = 1<<32 - 1 },
		"seccomp.localhost_ref: is required":            func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Seccomp.LocalhostRef = "" },
		"config.linux.resources.oom_score_adj: 2000":    func(c *runtimeapi.PodSandboxConfig) { c.Linux.Resources.OomScoreAdj = 2000 },
		"config.labels: has":                            func(c *runtimeapi.PodSandboxConfig) { c.Labels["x"] = strings.Repeat("x", 1<<20) },
		"config.linux.resources.unified: \"../x\"":      func(c *runtimeapi.PodSandboxConfig) { c.Linux.Resources.Unified = map[string]string{"../x": "1"} },
	} {
		t.Run(want, func(t *testing.T) {
			c := fullPod()
			change(c)
			var d decoder
			d.podConfig(c, "")
			if !errors.Is(d.err, errdefs.ErrInvalid) || !strings.Contains(d.err.Error(), want) {
				t.Fatalf("got %v, want ErrInvalid with %q", d.err, want)
			}
		})
	}
}

func fullContainer() *runtimeapi.ContainerConfig {
	return &runtimeapi.ContainerConfig{
		Metadata:   &runtimeapi.ContainerMetadata{Name: "c", Attempt: 1},
		Image:      &runtimeapi.ImageSpec{Image: "sha256:abc", UserSpecifiedImage: "busybox"},
		Command:    []string{"sh"},
		Args:       []string{"-c", "true"},
		WorkingDir: "/w",
		Envs:       []*runtimeapi.KeyValue{{Key: "K", Value: []byte("v\xff")}},
		Mounts: []*runtimeapi.Mount{
			{ContainerPath: "/c", HostPath: "/h/../x", Readonly: true, RecursiveReadOnly: true, MountOptions: []string{"noexec"}},
			{ContainerPath: "/rel", Image: &runtimeapi.ImageSpec{Image: "i"}, ImageSubPath: "s", Readonly: true},
		},
		Devices:    []*runtimeapi.Device{{ContainerPath: "/dev/x", HostPath: "/dev/null", Permissions: "rw"}},
		CDIDevices: []*runtimeapi.CDIDevice{{Name: "v/c=d"}},
		LogPath:    "c/0.log",
		Stdin:      true, StdinOnce: true, Tty: true,
		StopSignal: runtimeapi.Signal_SIGNAL_SIGUSR1,
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources: &runtimeapi.LinuxContainerResources{
				CpuPeriod: 1, CpuQuota: 2, CpuShares: 3, MemoryLimitInBytes: 4, MemorySwapLimitInBytes: 5, OomScoreAdj: -6,
				CpusetCpus: "0-1", CpusetMems: "0", Unified: map[string]string{"memory.high": "1"},
				HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 7}},
			},
			SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
				Capabilities:     &runtimeapi.Capability{AddCapabilities: []string{"NET_ADMIN"}, DropCapabilities: []string{"ALL"}},
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: "abc"},
				RunAsUsername:    "nobody",
				//lint:ignore SA1019 old clients use the deprecated fields
				SeccompProfilePath: "localhost/p.json",
				//lint:ignore SA1019 as above
				ApparmorProfile: "unconfined",
				SelinuxOptions:  &runtimeapi.SELinuxOption{Level: "s0"},
				NoNewPrivs:      true,
				MaskedPaths:     []string{"/proc/x"},
				ReadonlyPaths:   []string{"/proc/y"},
			},
		},
	}
}

func TestContainerConfig(t *testing.T) {
	var d decoder
	got := d.containerConfig(fullContainer())
	if d.err != nil {
		t.Fatal(d.err)
	}
	want := spec.ContainerConfig{
		Name: "c", Attempt: 1, Image: "sha256:abc", UserSpecifiedImage: "busybox",
		Command: []string{"sh"}, Args: []string{"-c", "true"}, WorkingDir: "/w",
		Env: []spec.EnvVar{{Key: "K", Value: []byte("v\xff")}},
		Mounts: []spec.Mount{
			{ContainerPath: "/c", HostPath: "/h/../x", Readonly: true, RecursiveReadonly: true, Options: []string{"noexec"}},
			{ContainerPath: "/rel", Image: &spec.ImageVolume{Image: "i"}, ImageSubPath: "s", Readonly: true},
		},
		Devices:    []spec.Device{{ContainerPath: "/dev/x", HostPath: "/dev/null", Permissions: "rw"}},
		CDIDevices: []string{"v/c=d"}, LogPath: "c/0.log", Stdin: true, StdinOnce: true, TTY: true, StopSignal: 10,
		Resources: &spec.Resources{
			CPUPeriod: 1, CPUQuota: 2, CPUShares: 3, Memory: 4, MemorySwap: 5, OOMScoreAdj: -6, CPUSetCPUs: "0-1", CPUSetMems: "0",
			Unified: map[string]string{"memory.high": "1"}, Hugepages: []spec.HugepageLimit{{PageSize: "2MB", Limit: 7}},
		},
		Security: spec.ContainerSecurity{
			Capabilities: &spec.Capabilities{Add: []string{"NET_ADMIN"}, Drop: []string{"ALL"}},
			Namespaces:   spec.Namespaces{PID: spec.NamespaceTarget, TargetID: "abc"}, RunAsUsername: "nobody",
			Seccomp:  &spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: "p.json"},
			AppArmor: &spec.SecurityProfile{Type: spec.ProfileUnconfined},
			SELinux:  &spec.SELinux{Level: "s0"}, NoNewPrivs: true,
			MaskedPaths: []string{"/proc/x"}, ReadonlyPaths: []string{"/proc/y"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestBadContainersAreRefusedByField(t *testing.T) {
	for want, change := range map[string]func(*runtimeapi.ContainerConfig){
		"config.metadata.name: is required":        func(c *runtimeapi.ContainerConfig) { c.Metadata = nil },
		"config.image.image: is required":          func(c *runtimeapi.ContainerConfig) { c.Image = nil },
		"config.command[0]: holds a NUL":           func(c *runtimeapi.ContainerConfig) { c.Command[0] = "a\x00b" },
		"config.args[1]: has 131072 bytes":         func(c *runtimeapi.ContainerConfig) { c.Args[1] = strings.Repeat("x", 1<<17) },
		"config.envs[0].key: \"A=B\"":              func(c *runtimeapi.ContainerConfig) { c.Envs[0].Key = "A=B" },
		"config.envs[0].value: holds a NUL":        func(c *runtimeapi.ContainerConfig) { c.Envs[0].Value = []byte{0} },
		"config.log_path: \"../../etc/x\"":         func(c *runtimeapi.ContainerConfig) { c.LogPath = "../../etc/x" },
		"config.log_path: \"a/..\"":                func(c *runtimeapi.ContainerConfig) { c.LogPath = "a/.." },
		"config.stdin_once: needs stdin":           func(c *runtimeapi.ContainerConfig) { c.Stdin = false },
		"config.stop_signal: unknown value 99":     func(c *runtimeapi.ContainerConfig) { c.StopSignal = 99 },
		"config.mounts[0].container_path: is":      func(c *runtimeapi.ContainerConfig) { c.Mounts[0].ContainerPath = "" },
		"container_path: \"c\" is not absolute":    func(c *runtimeapi.ContainerConfig) { c.Mounts[0].ContainerPath = "c" },
		"config.mounts[0].host_path: is required":  func(c *runtimeapi.ContainerConfig) { c.Mounts[0].HostPath = "" },
		"config.mounts[0].host_path: \"h\" is not": func(c *runtimeapi.ContainerConfig) { c.Mounts[0].HostPath = "h" },
		"config.mounts[1]: host_path and image":    func(c *runtimeapi.ContainerConfig) { c.Mounts[1].HostPath = "/h" },
		"recursive_read_only: needs readonly":      func(c *runtimeapi.ContainerConfig) { c.Mounts[0].Readonly = false },
		"recursive_read_only: needs the propag":    func(c *runtimeapi.ContainerConfig) { c.Mounts[0].Propagation = 2 },
		"config.mounts[0].propagation: unknown": func(c *runtimeapi.ContainerConfig) {
			c.Mounts[0].RecursiveReadOnly = false
			c.Mounts[0].Propagation = 3
		},
		"config.devices[0].permissions: \"rx\"": func(c *runtimeapi.ContainerConfig) { c.Devices[0].Permissions = "rx" },
		"exclude each other":                    func(c *runtimeapi.ContainerConfig) { c.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{} },
		"run_as_group: needs": func(c *runtimeapi.ContainerConfig) {
			c.Linux.SecurityContext.RunAsUsername = ""
			c.Linux.SecurityContext.RunAsGroup = &runtimeapi.Int64Value{}
		},
		"run_as_username: holds a control": func(c *runtimeapi.ContainerConfig) { c.Linux.SecurityContext.RunAsUsername = "a\nb" },
		"target_id: is required":           func(c *runtimeapi.ContainerConfig) { c.Linux.SecurityContext.NamespaceOptions.TargetId = "" },
		//lint:ignore SA1019 as above
		"seccomp: \"x\" is none of": func(c *runtimeapi.ContainerConfig) { c.Linux.SecurityContext.SeccompProfilePath = "x" },
	} {
		t.Run(want, func(t *testing.T) {
			c := fullContainer()
			change(c)
			var d decoder
			d.containerConfig(c)
			if !errors.Is(d.err, errdefs.ErrInvalid) || !strings.Contains(d.err.Error(), want) {
				t.Fatalf("got %v, want ErrInvalid with %q", d.err, want)
			}
		})
	}
}

func TestSignals(t *testing.T) {
	for cri, want := range map[runtimeapi.Signal]int32{
		0: 0, runtimeapi.Signal_SIGNAL_SIGTERM: 15, runtimeapi.Signal_SIGNAL_SIGKILL: 9, runtimeapi.Signal_SIGNAL_SIGHUP: 1,
		runtimeapi.Signal_SIGNAL_SIGWINCH: 28, runtimeapi.Signal_SIGNAL_SIGXFSZ: 25, runtimeapi.Signal_SIGNAL_SIGRTMIN: 34,
		runtimeapi.Signal_SIGNAL_SIGRTMINPLUS3: 37, runtimeapi.Signal_SIGNAL_SIGRTMAXMINUS14: 50, runtimeapi.Signal_SIGNAL_SIGRTMAX: 64,
	} {
		var d decoder
		if got := d.signal("s", cri); got != want || d.err != nil {
			t.Errorf("%v: got %d, %v; want %d", cri, got, d.err, want)
		}
		if back := encodeSignal(want); back != cri {
			t.Errorf("%d: got %v back, want %v", want, back, cri)
		}
	}
}

func FuzzContainerConfig(f *testing.F) {
	seed, err := proto.Marshal(fullContainer())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var c runtimeapi.ContainerConfig
		if proto.Unmarshal(data, &c) != nil {
			return
		}
		var d decoder
		got := d.containerConfig(&c)
		if d.err != nil {
			if !errors.Is(d.err, errdefs.ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", d.err)
			}
			return
		}
		if strings.HasPrefix(got.LogPath, "/") || strings.Contains("/"+got.LogPath+"/", "/../") {
			t.Fatalf("the log leaves its folder: %q", got.LogPath)
		}
		for _, m := range got.Mounts {
			if !strings.HasPrefix(m.ContainerPath, "/") || m.Image == nil && !strings.HasPrefix(m.HostPath, "/") {
				t.Fatalf("relative mount: %+v", m)
			}
		}
	})
}

func FuzzPodConfig(f *testing.F) {
	seed, err := proto.Marshal(fullPod())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var c runtimeapi.PodSandboxConfig
		if proto.Unmarshal(data, &c) != nil {
			return
		}
		var d decoder
		got := d.podConfig(&c, "")
		if d.err != nil {
			if !errors.Is(d.err, errdefs.ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", d.err)
			}
			return
		}
		if strings.ContainsAny(got.Hostname+got.Name, "\n\x00") || len(got.Hostname) > 64 {
			t.Fatalf("a name that breaks /etc/hosts passed: %q %q", got.Name, got.Hostname)
		}
	})
}
