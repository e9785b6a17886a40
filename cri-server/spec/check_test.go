package spec_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestWhatIsRefusedOfAContainer(t *testing.T) {
	id := func(n int64) *int64 { return &n }
	mount := func(m spec.Mount) func(*spec.ContainerConfig) {
		return func(c *spec.ContainerConfig) { c.Mounts = []spec.Mount{m} }
	}
	for _, tt := range []struct {
		name   string
		kind   error
		text   string
		change func(*spec.ContainerConfig)
	}{
		{"seccomp RuntimeDefault", nil, "", func(c *spec.ContainerConfig) { c.Security.Seccomp = &spec.SecurityProfile{} }},
		{"seccomp Localhost", nil, "", func(c *spec.ContainerConfig) {
			c.Security.Seccomp = &spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: "/p.json"}
		}},
		{"seccomp of a relative path", errdefs.ErrInvalid, "p.json", func(c *spec.ContainerConfig) {
			c.Security.Seccomp = &spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: "p.json"}
		}},
		{"seccomp of another type", errdefs.ErrInvalid, "3", func(c *spec.ContainerConfig) { c.Security.Seccomp = &spec.SecurityProfile{Type: 3} }},
		{"seccomp Unconfined", nil, "", func(c *spec.ContainerConfig) {
			c.Security.Seccomp = &spec.SecurityProfile{Type: spec.ProfileUnconfined}
		}},
		{"seccomp of a privileged one", nil, "", func(c *spec.ContainerConfig) {
			c.Security.Privileged, c.Security.Seccomp = true, &spec.SecurityProfile{}
		}},
		{"SELinux", nil, "", func(c *spec.ContainerConfig) {
			c.Security.SELinux = &spec.SELinux{User: "system_u", Role: "system_r", Type: "my.app_t", Level: "s0-s0:c1.c5,c7"}
		}},
		{"SELinux type of two", errdefs.ErrInvalid, "SELinux type", func(c *spec.ContainerConfig) { c.Security.SELinux = &spec.SELinux{Type: "a_t:s0"} }},
		{"SELinux user with a line break", errdefs.ErrInvalid, "SELinux user", func(c *spec.ContainerConfig) { c.Security.SELinux = &spec.SELinux{User: "a\n"} }},
		{"SELinux role that ends the option", errdefs.ErrInvalid, "SELinux role", func(c *spec.ContainerConfig) { c.Security.SELinux = &spec.SELinux{Role: `a",b`} }},
		{"SELinux level", errdefs.ErrInvalid, "SELinux level", func(c *spec.ContainerConfig) { c.Security.SELinux = &spec.SELinux{Level: "s0,c1"} }},
		{"SELinux level, privileged", errdefs.ErrInvalid, "SELinux level", func(c *spec.ContainerConfig) {
			c.Security.Privileged, c.Security.SELinux = true, &spec.SELinux{Level: "x"}
		}},
		{"SELinux type without end", errdefs.ErrInvalid, "too long", func(c *spec.ContainerConfig) { c.Security.SELinux = &spec.SELinux{Type: strings.Repeat("a", 201)} }},
		{"SELinux without a label", nil, "", func(c *spec.ContainerConfig) { c.Security.SELinux = &spec.SELinux{} }},
		{"user namespace of its own", errdefs.ErrInvalid, "another user namespace", func(c *spec.ContainerConfig) { c.Security.Namespaces.User = &spec.UserNamespace{} }},
		{"the host's user namespace", nil, "", func(c *spec.ContainerConfig) {
			c.Security.Namespaces.User = &spec.UserNamespace{Mode: spec.NamespaceNode}
		}},
		{"CDI", errdefs.ErrNotSupported, "CDI", func(c *spec.ContainerConfig) { c.CDIDevices = []string{"a/b=c"} }},
		{"CDI by annotation", errdefs.ErrNotSupported, "CDI", func(c *spec.ContainerConfig) { c.Annotations = map[string]string{"cdi.k8s.io/x": "y"} }},
		{"group without user", errdefs.ErrInvalid, "run_as_group", func(c *spec.ContainerConfig) { c.Security.RunAsGroup = id(1) }},
		{"two users", errdefs.ErrInvalid, "run_as_username", func(c *spec.ContainerConfig) { c.Security.RunAsUser, c.Security.RunAsUsername = id(1), "a" }},
		{"user -1", errdefs.ErrInvalid, "-1", func(c *spec.ContainerConfig) { c.Security.RunAsUser = id(-1) }},
		{"user (uid_t)-1", errdefs.ErrInvalid, "4294967295", func(c *spec.ContainerConfig) { c.Security.RunAsUser = id(4294967295) }},
		{"user with a line break", errdefs.ErrInvalid, "user name", func(c *spec.ContainerConfig) { c.Security.RunAsUsername = "a\nroot" }},
		{"unknown capability", errdefs.ErrInvalid, "FLY", func(c *spec.ContainerConfig) { c.Security.Capabilities = &spec.Capabilities{Add: []string{"FLY"}} }},
		{"rro but rw", errdefs.ErrInvalid, "read-only", mount(spec.Mount{ContainerPath: "/a", HostPath: "/b", RecursiveReadonly: true})},
		{"rro and propagation", errdefs.ErrInvalid, "private", mount(spec.Mount{ContainerPath: "/a", HostPath: "/b", Readonly: true, RecursiveReadonly: true, Propagation: 1})},
		{"mount on the root", errdefs.ErrInvalid, "root", mount(spec.Mount{ContainerPath: "/..", HostPath: "/b"})},
		{"relative mount", errdefs.ErrInvalid, "absolute", mount(spec.Mount{ContainerPath: "a", HostPath: "/b"})},
		{"image and host path", errdefs.ErrInvalid, "both", mount(spec.Mount{ContainerPath: "/a", HostPath: "/b", Image: &spec.ImageVolume{Image: "i"}})},
		{"sub path that climbs", errdefs.ErrInvalid, "..", mount(spec.Mount{ContainerPath: "/a", Image: &spec.ImageVolume{Image: "i"}, ImageSubPath: "x/../../y"})},
		{"mount option exec", errdefs.ErrNotSupported, "exec", mount(spec.Mount{ContainerPath: "/a", HostPath: "/b", Options: []string{"exec"}})},
		{"mapped mount", errdefs.ErrInvalid, "without a user namespace", mount(spec.Mount{ContainerPath: "/a", HostPath: "/b", UIDs: []spec.IDMapping{{Length: 1}}})},
		{"log outside", errdefs.ErrInvalid, "leaves", func(c *spec.ContainerConfig) { c.LogPath = "../../etc/passwd" }},
		{"variable without a name", errdefs.ErrInvalid, "environment", func(c *spec.ContainerConfig) { c.Env = []spec.EnvVar{{}} }},
		{"variable with a NUL", errdefs.ErrInvalid, "NUL", func(c *spec.ContainerConfig) { c.Env = []spec.EnvVar{{Key: "A", Value: []byte{0}}} }},
		{"device permissions", errdefs.ErrInvalid, "rx", func(c *spec.ContainerConfig) {
			c.Devices = []spec.Device{{HostPath: "/dev/a", ContainerPath: "/dev/a", Permissions: "rx"}}
		}},
		{"cgroup control as setting", errdefs.ErrInvalid, "cgroup.kill", func(c *spec.ContainerConfig) {
			c.Resources = &spec.Resources{Unified: map[string]string{"cgroup.kill": "1"}}
		}},
		{"cgroup setting that climbs", errdefs.ErrInvalid, "..", func(c *spec.ContainerConfig) {
			c.Resources = &spec.Resources{Unified: map[string]string{"../cpu.max": "1"}}
		}},
		{"cpuset with a line break", errdefs.ErrInvalid, "cpuset", func(c *spec.ContainerConfig) { c.Resources = &spec.Resources{CPUSetCPUs: "0\n1"} }},
		{"network of another mode than the pod's", errdefs.ErrInvalid, "network", func(c *spec.ContainerConfig) { c.Security.Namespaces.Network = spec.NamespaceNode }},
		{"target without a target", errdefs.ErrInvalid, "TARGET", func(c *spec.ContainerConfig) { c.Security.Namespaces.PID = spec.NamespaceTarget }},
	} {
		in := plain()
		tt.change(&in.Container)
		err := spec.CheckContainer(in.Pod, in.Container)
		if tt.kind == nil && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.kind != nil && (!errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%s: got %v, want %v with %q", tt.name, err, tt.kind, tt.text)
		}
	}
}

// A profile of the kind Localhost that names no file meant none: what was to be confined ran without (CVE-2023-2431). Here it
// would show as a container, or a pod, that may be made.
func TestCVE_2023_2431_LocalhostWithoutAFile(t *testing.T) {
	for _, ref := range []string{"", "localhost/", ".", "p.json"} {
		in := plain()
		in.Container.Security.Seccomp = &spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: ref}
		in.Pod.Security.Seccomp = in.Container.Security.Seccomp
		if err := spec.CheckContainer(in.Pod, in.Container); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("container with %q: %v", ref, err)
		}
		if err := spec.CheckPod(in.Pod); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("pod with %q: %v", ref, err)
		}
	}
}

func TestWhatIsRefusedOfAPod(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kind   error
		change func(*spec.PodConfig)
	}{
		{"plain", nil, func(*spec.PodConfig) {}},
		{"no name", errdefs.ErrInvalid, func(p *spec.PodConfig) { p.Name = "" }},
		{"hostname with a line break", errdefs.ErrInvalid, func(p *spec.PodConfig) { p.Hostname = "a\n1.2.3.4 evil" }},
		{"hostname too long", errdefs.ErrInvalid, func(p *spec.PodConfig) { p.Hostname = strings.Repeat("a", 65) }},
		{"DNS server that is none", errdefs.ErrInvalid, func(p *spec.PodConfig) { p.DNS = &spec.DNS{Servers: []string{"1.1.1.1\nsearch x"}} }},
		{"DNS search with a line break", errdefs.ErrInvalid, func(p *spec.PodConfig) { p.DNS = &spec.DNS{Searches: []string{"a\nb"}} }},
		{"port", errdefs.ErrInvalid, func(p *spec.PodConfig) { p.Ports = []spec.PortMapping{{HostPort: 70000, ContainerPort: 1}} }},
		{"port that is not published", nil, func(p *spec.PodConfig) { p.Ports = []spec.PortMapping{{ContainerPort: 80}} }},
		{"host IP", errdefs.ErrInvalid, func(p *spec.PodConfig) {
			p.Ports = []spec.PortMapping{{HostPort: 1, ContainerPort: 1, HostIP: "localhost"}}
		}},
		{"user namespace without mappings", errdefs.ErrInvalid, func(p *spec.PodConfig) { p.Security.Namespaces.User = &spec.UserNamespace{} }},
		{"seccomp as the kubelet sends it", nil, func(p *spec.PodConfig) { p.Security.Seccomp = &spec.SecurityProfile{} }},
		{"seccomp of a relative path", errdefs.ErrInvalid, func(p *spec.PodConfig) {
			p.Security.Seccomp = &spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: "p.json"}
		}},
		{"cgroup that climbs", errdefs.ErrInvalid, func(p *spec.PodConfig) { p.CgroupParent = "/kubepods/../.." }},
		{"relative log directory", errdefs.ErrInvalid, func(p *spec.PodConfig) { p.LogDirectory = "logs" }},
		{"sysctl with a line break", errdefs.ErrInvalid, func(p *spec.PodConfig) { p.Sysctls = map[string]string{"net.a": "1\n2"} }},
		{"sysctl twice", errdefs.ErrInvalid, func(p *spec.PodConfig) { p.Sysctls = map[string]string{"net.a": "1", "net/a": "2"} }},
	} {
		p := plain().Pod
		tt.change(&p)
		if err := spec.CheckPod(p); !errors.Is(err, tt.kind) || (tt.kind == nil && err != nil) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.kind)
		}
	}
}

func TestPodSysctls(t *testing.T) {
	p := plain().Pod
	p.Sysctls = map[string]string{"net/ipv4/conf/eth0.1/forwarding": "1", "net.ipv4.ip_unprivileged_port_start": "1024"}
	got, err := spec.PodSysctls(p)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"net.ipv4.conf.eth0/1.forwarding": "1", "net.ipv4.ip_unprivileged_port_start": "1024",
		"net.ipv4.ping_group_range": "0 2147483647",
	}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %q, want %q", k, got[k], v)
		}
	}
	p.Sysctls, p.Security.Namespaces.Network = nil, spec.NamespaceNode
	if got, err := spec.PodSysctls(p); err != nil || len(got) != 0 {
		t.Errorf("in the host's network: %v, %v", got, err)
	}
}

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]int{
		"SIGTERM": 15, "term": 15, "9": 9, "SIGRTMIN": 34, "RTMIN+3": 37, "SIGRTMAX-1": 63, "POLL": 29, "SIGCLD": 17,
		"": 0, "SIG": 0, "0": 0, "65": 0, "-1": 0, "RTMIN3": 0, "RTMAX+1": 0, "SIGNOPE": 0,
	} {
		got, err := spec.ParseSignal(s)
		if int(got) != want || (want == 0) != errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%q: %d, %v, want %d", s, got, err, want)
		}
	}
}

func TestOnlyLoopbackDNS(t *testing.T) {
	for s, want := range map[string]bool{
		"nameserver 127.0.0.53\noptions edns0\n":   true,
		"nameserver ::1\n":                         true,
		"nameserver 127.0.0.1\nnameserver 8.8.8.8": false,
		"search x\n": false,
		"":           false,
		"# nameserver 127.0.0.1\nnameserver 1.1.1.1": false,
	} {
		if got := spec.OnlyLoopbackDNS([]byte(s)); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func FuzzParseSignal(f *testing.F) {
	f.Add("SIGRTMIN+3")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := spec.ParseSignal(s); err == nil && (n < 1 || n > 64) {
			t.Errorf("%q: %d", s, n)
		}
	})
}
