package plan_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/lsm"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/seccomp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// facts are those of a machine with cgroup v1 in two hierarchies and cgroup2 beside them.
func facts() plan.Facts {
	return plan.Facts{
		LastCap: 40, Caps: 1<<41 - 1, HardLimits: map[string]uint64{"RLIMIT_NOFILE": 4096, "RLIMIT_CORE": 100},
		Hierarchies: []plan.Hierarchy{
			{Mount: "/sys/fs/cgroup/cpu,cpuacct", Options: "cpu,cpuacct"},
			{Mount: "/sys/fs/cgroup/systemd", Options: "none,name=systemd"},
			{Mount: "/sys/fs/cgroup/unified", V2: true},
		},
	}
}

func spec() *specs.Spec {
	caps := []string{"CAP_CHOWN", "CAP_NET_BIND_SERVICE"}
	return &specs.Spec{
		Root:     &specs.Root{Path: "/rootfs", Readonly: true},
		Hostname: "host",
		Process: &specs.Process{
			Args: []string{"sh", "-c", "true"}, Env: []string{"PATH=/bin:rel:/sbin", "A=B"}, Cwd: "/a/../work",
			User:         specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{3}},
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Permitted: caps, Effective: caps[:1]},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 1, Hard: 2}},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "ro"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "gid=5"}},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid"}},
			{Destination: "/data/", Type: "bind", Source: "/host/data", Options: []string{"rbind", "rslave", "rro", "noexec"}},
			{Destination: "/image", Source: "x", Options: []string{"ro"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: "/pods/c1",
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.MountNamespace},
				{Type: specs.PIDNamespace},
				{Type: specs.CgroupNamespace},
				{Type: specs.NetworkNamespace, Path: "/pin/net"},
				{Type: specs.IPCNamespace, Path: "/pin/ipc"},
				{Type: specs.UTSNamespace},
			},
			Devices:           []specs.LinuxDevice{{Path: "/dev/null", Type: "c", Major: 1, Minor: 3}, {Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}},
			Sysctl:            map[string]string{"net.ipv4.conf.eth0/100.forwarding": "1", "kernel.shmmax": "5"},
			MaskedPaths:       []string{"/proc/kcore", "/proc/kcore/", "/proc/acpi"},
			ReadonlyPaths:     []string{"/proc/sys"},
			RootfsPropagation: "rslave",
		},
	}
}

func TestGolden(t *testing.T) {
	terminal := func(s *specs.Spec) { s.Process.Terminal, s.Process.Args = true, []string{"./run"} }
	for name, c := range map[string]struct {
		spec  func(*specs.Spec)
		facts func(*plan.Facts)
	}{
		"hybrid": {func(*specs.Spec) {}, func(*plan.Facts) {}},
		"v2":     {terminal, func(f *plan.Facts) { f.CgroupV2, f.Hierarchies = true, f.Hierarchies[2:] }},
		"no-sysresource": {func(s *specs.Spec) {
			score := -5
			s.Process.OOMScoreAdj = &score
			s.Process.Rlimits[0].Hard = 1000
			s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_SYS_RESOURCE", "CAP_CHECKPOINT_RESTORE")
		}, func(f *plan.Facts) { f.Caps &^= 1 << 24; f.LastCap = 39 }},
		"host-namespaces": {func(s *specs.Spec) {
			s.Linux.Namespaces, s.Hostname, s.Linux.Sysctl = s.Linux.Namespaces[:1], "", nil
		}, func(*plan.Facts) {}},
		"labels": {func(s *specs.Spec) {
			s.Process.ApparmorProfile, s.Process.SelinuxLabel = "berth-default", "system_u:system_r:container_t:s0:c1,c2"
			s.Linux.MountLabel = "system_u:object_r:container_file_t:s0:c1,c2"
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/dev/mqueue", Type: "mqueue"}, specs.Mount{Destination: "/run", Type: "tmpfs", Options: []string{"context=own:own:own"}})
		}, func(f *plan.Facts) { f.LSM = lsm.Modules{AppArmor: true, SELinux: true} }},
		"bind-dev": {func(s *specs.Spec) {
			s.Mounts = []specs.Mount{{Destination: "/dev", Type: "bind", Source: "/dev", Options: []string{"rbind"}}}
		}, func(*plan.Facts) {}},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := spec(), facts()
			f.Prepared = []string{"/image"}
			c.spec(s)
			c.facts(&f)
			p, err := plan.New(s, f)
			testutil.Must(t, err)
			got, err := json.MarshalIndent(p, "", "\t")
			testutil.Must(t, err)
			golden(t, name+".json", append(got, '\n'))
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		testutil.Must(t, os.WriteFile(path, got, 0o644))
	}
	expect, err := os.ReadFile(path)
	testutil.Must(t, err)
	if diff := cmp.Diff(strings.Split(string(expect), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s (run with -update if it should be so):\n%s", path, diff)
	}
}

func TestRefusals(t *testing.T) {
	huge := specs.LinuxDevice{Path: "/dev/x", Type: "c", Major: 5000}
	for text, change := range map[string]func(*specs.Spec){
		"process: missing":               func(s *specs.Spec) { s.Process = nil },
		"linux: missing":                 func(s *specs.Spec) { s.Linux = nil },
		"linux.uidMappings":              func(s *specs.Spec) { s.Linux.UIDMappings = make([]specs.LinuxIDMapping, 1) },
		`linux.netDevices: "a b"`:        func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"a b": {}} },
		`linux.netDevices[a].name: "%s"`: func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"a": {Name: "%s"}} },
		`linux.netDevices[b].name: x is`: func(s *specs.Spec) {
			s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"a": {Name: "x"}, "b": {Name: "x"}}
		},
		"linux.netDevices: needs a network": func(s *specs.Spec) {
			s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"a": {}}
			s.Linux.Sysctl = nil
			s.Linux.Namespaces = slices.Delete(s.Linux.Namespaces, 3, 4)
		},
		"linux.netDevices: not supported by berth in a new network namespace of a user namespace that is joined": func(s *specs.Spec) {
			s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"a": {}}
			s.Linux.Namespaces[3].Path = ""
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: "/pin/user"})
		},
		"linux.timeOffsets":                    func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"a": {}} },
		"linux.personality":                    func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{} },
		"linux.intelRdt.closID":                func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "a/b"} },
		"linux.memoryPolicy":                   func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{} },
		"linux.rootfsPropagation odd":          func(s *specs.Spec) { s.Linux.RootfsPropagation = "odd" },
		"process.scheduler":                    func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{} },
		"process.ioPriority":                   func(s *specs.Spec) { s.Process.IOPriority = &specs.LinuxIOPriority{} },
		"process.execCPUAffinity.initial":      func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "1-x"} },
		"process.commandLine":                  func(s *specs.Spec) { s.Process.CommandLine = "x" },
		"process.user.username":                func(s *specs.Spec) { s.Process.User.Username = "x" },
		"vm: not supported":                    func(s *specs.Spec) { s.VM = &specs.VM{} },
		`type "odd" is not supported`:          func(s *specs.Spec) { s.Linux.Namespaces[0].Type = "odd" },
		`type "mount" twice`:                   func(s *specs.Spec) { s.Linux.Namespaces[1].Type = specs.MountNamespace },
		"a mount namespace is missing":         func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[1:] },
		`path "rel" of type "network"`:         func(s *specs.Spec) { s.Linux.Namespaces[3].Path = "rel" },
		"hostname: needs a uts namespace":      func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[:5] },
		"hostname: longer":                     func(s *specs.Spec) { s.Hostname = strings.Repeat("x", 65) },
		"mounts[0] on proc":                    func(s *specs.Spec) { s.Mounts[0].Destination = "proc" },
		"destination is the root":              func(s *specs.Spec) { s.Mounts[0].Destination = "/a/.." },
		`mounts[0] on /proc: type is missing`:  func(s *specs.Spec) { s.Mounts[0].Type = "" },
		`option "tmpcopyup" is for mounts of`:  func(s *specs.Spec) { s.Mounts[0].Options = []string{"tmpcopyup"} },
		`option "remount" makes no mount`:      func(s *specs.Spec) { s.Mounts[1].Options = []string{"remount", "tmpcopyup"} },
		`option "remount" changes one mount`:   func(s *specs.Spec) { s.Mounts[1].Options = []string{"remount", "rslave"} },
		`option "move" is not supported`:       func(s *specs.Spec) { s.Mounts[1].Options = []string{"move"} },
		"idmap: there are no uidMappings":      func(s *specs.Spec) { s.Mounts[4].Options = []string{"rbind", "idmap"} },
		"idmap: only bind mounts":              func(s *specs.Spec) { s.Mounts[1].Options = []string{"idmap"} },
		`option "nosiud" is unknown`:           func(s *specs.Spec) { s.Mounts[4].Options = []string{"rbind", "size=1", "nosiud"} },
		`option ""`:                            func(s *specs.Spec) { s.Mounts[4].Options = []string{""} },
		`source "rel"`:                         func(s *specs.Spec) { s.Mounts[4].Source = "rel" },
		"recursive options":                    func(s *specs.Spec) { s.Mounts[1].Options = []string{"rro"} },
		"mounts[4] on /data/: uidMappings: no": func(s *specs.Spec) { s.Mounts[4].GIDMappings = make([]specs.LinuxIDMapping, 1) },
		"linux.devices[1]: path":               func(s *specs.Spec) { s.Linux.Devices[1].Path = "dev/x" },
		`linux.devices[1]: type "x"`:           func(s *specs.Spec) { s.Linux.Devices[1].Type = "x" },
		"linux.devices[0]: device number 5000": func(s *specs.Spec) { s.Linux.Devices[0] = huge },
		"linux.maskedPaths[0]":                 func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"rel"} },
		"linux.readonlyPaths[0]":               func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"/"} },
		`"kernel.hostname" is not a parameter`: func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.hostname": "x"} },
		`"net..ipv4" is not the name`:          func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net..ipv4": "x"} },
		`"net/../kernel/core_pattern" is not`:  func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net/../kernel/core_pattern": "x"} },
		`"kernel.shm_rmid_forced+kernel`: func(s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{"kernel.shm_rmid_forced+kernel.core_pattern": "x"}
		},
		`needs a namespace of type "network"`: func(s *specs.Spec) {
			s.Linux.Namespaces = slices.Delete(s.Linux.Namespaces, 3, 4)
		},
		"process.args: no command":         func(s *specs.Spec) { s.Process.Args = []string{""} },
		"process.args[1]: a NUL":           func(s *specs.Spec) { s.Process.Args[1] = "a\x00" },
		"process.env[0]: a NUL":            func(s *specs.Spec) { s.Process.Env[0] = "a\x00" },
		"process.cwd: \"rel\"":             func(s *specs.Spec) { s.Process.Cwd = "rel" },
		"process.user: 4294967295":         func(s *specs.Spec) { s.Process.User.GID = ^uint32(0) },
		"process.user.additionalGids":      func(s *specs.Spec) { s.Process.User.AdditionalGids = make([]uint32, 65537) },
		"process.oomScoreAdj: 1001":        func(s *specs.Spec) { v := 1001; s.Process.OOMScoreAdj = &v },
		"process.user.umask":               func(s *specs.Spec) { v := uint32(0o1000); s.Process.User.Umask = &v },
		"PATH has 200 folders":             func(s *specs.Spec) { s.Process.Env = []string{"PATH=" + strings.Repeat("/x:", 200)} },
		`bounding: unknown capability "x"`: func(s *specs.Spec) { s.Process.Capabilities.Bounding = []string{"x"} },
		"capabilities.effective":           func(s *specs.Spec) { s.Process.Capabilities.Permitted = nil },
		"capabilities.inheritable":         func(s *specs.Spec) { s.Process.Capabilities.Inheritable = []string{"CAP_BPF"} },
		`rlimits[0]: unknown type "x"`:     func(s *specs.Spec) { s.Process.Rlimits[0].Type = "x" },
		"rlimits[0]: soft limit 9":         func(s *specs.Spec) { s.Process.Rlimits[0].Soft = 9 },
		"rlimits[1]: RLIMIT_CORE twice":    func(s *specs.Spec) { s.Process.Rlimits = append(s.Process.Rlimits, s.Process.Rlimits[0]) },
		"process.terminal: needs a mount":  func(s *specs.Spec) { s.Process.Terminal, s.Mounts = true, nil },
		"hooks: not supported":             func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: make([]specs.Hook, 1)} },
	} {
		t.Run(text, func(t *testing.T) {
			s, f := spec(), facts()
			f.Prepared = []string{"/image"}
			change(s)
			_, err := plan.New(s, f)
			if err == nil || !strings.Contains(err.Error(), text) || !errors.Is(err, errdefs.ErrInvalid) && !errors.Is(err, errdefs.ErrNotSupported) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Any spec that is JSON gets a plan or an error of one of two kinds that begins with a field.
func FuzzNew(f *testing.F) {
	seed, err := json.Marshal(spec())
	testutil.Must(f, err)
	f.Add(seed)
	f.Add([]byte(`{"process":{"args":["x"],"cwd":"/"},"linux":{"namespaces":[{"type":"mount"}]}}`))
	for _, c := range corpus(f) {
		f.Add(patched(f, c.Patch))
	}
	host := cgroups(f)
	field := regexp.MustCompile(`(?s)^(annotations|domainname|freebsd|hooks|hostname|linux|mounts|ociVersion|process|root|solaris|vm|windows|zos)(\.\w+|\[.*\])*(:| )`)
	f.Fuzz(func(t *testing.T, data []byte) {
		var s specs.Spec
		if json.Unmarshal(data, &s) != nil {
			t.Skip()
		}
		before, err := json.Marshal(&s)
		testutil.Must(t, err)
		p, err := planned(&s, host)
		if after, jsonErr := json.Marshal(&s); jsonErr != nil || string(after) != string(before) {
			t.Fatalf("the spec was changed (%v)", jsonErr)
		}
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) && !errors.Is(err, errdefs.ErrNotSupported) {
				t.Fatalf("error of no kind: %v", err)
			}
			if !field.MatchString(err.Error()) {
				t.Fatalf("error that begins with no field: %v", err)
			}
			return
		}
		for _, m := range p.Mounts {
			if m.Destination != filepath.Clean(m.Destination) || m.Destination == "/" || m.Destination[0] != '/' {
				t.Fatalf("destination %q", m.Destination)
			}
		}
		for _, s := range p.Sysctls {
			if strings.Contains("/"+s.Path+"/", "/../") || s.Namespace == "" {
				t.Fatalf("sysctl %+v", s)
			}
		}
	})
}

func TestSysctlNames(t *testing.T) {
	for key, expect := range map[string]string{
		"net.ipv4.conf.eth0/100.forwarding": "net/ipv4/conf/eth0.100/forwarding",
		"net/ipv4/conf/eth0.100/forwarding": "net/ipv4/conf/eth0.100/forwarding",
		"kernel.shmmax":                     "kernel/shmmax",
		"fs.mqueue.msg_max":                 "fs/mqueue/msg_max",
	} {
		s := spec()
		s.Linux.Sysctl = map[string]string{key: "1"}
		f := facts()
		f.Prepared = []string{"/image"}
		p, err := plan.New(s, f)
		testutil.Must(t, err)
		if p.Sysctls[0].Path != expect {
			t.Errorf("%s: %s", key, p.Sysctls[0].Path)
		}
	}
}

// What the kernel would not make ambient is left out, and said.
func TestAmbientThatIsNotInheritable(t *testing.T) {
	s := spec()
	s.Process.Capabilities = &specs.LinuxCapabilities{
		Bounding: []string{"CAP_KILL", "CAP_CHOWN"}, Permitted: []string{"CAP_KILL", "CAP_CHOWN"},
		Inheritable: []string{"CAP_CHOWN"}, Ambient: []string{"CAP_KILL", "CAP_CHOWN"},
	}
	f := facts()
	f.Prepared = []string{"/image"}
	p, err := plan.New(s, f)
	if err != nil {
		t.Fatal(err)
	}
	if got := plan.Capabilities(p.Process.Caps.Ambient); !slices.Equal(got, []string{"CAP_CHOWN"}) {
		t.Errorf("ambient %v", got)
	}
	if !slices.ContainsFunc(p.Warnings, func(w string) bool {
		return strings.HasPrefix(w, "process.capabilities.ambient") && strings.Contains(w, "CAP_KILL")
	}) {
		t.Errorf("warnings %q", p.Warnings)
	}
}

// Devices that are not made are said.
func TestDevicesThatAreLeftOut(t *testing.T) {
	s := spec()
	s.Linux.Devices = []specs.LinuxDevice{
		{Path: "/dev/own", Type: "c", Major: 1, Minor: 3}, {Path: "/dev/console", Type: "c", Major: 5, Minor: 1}, {Path: "/dev/ptmx", Type: "c", Major: 5, Minor: 2},
	}
	bound := spec()
	bound.Linux.Devices = s.Linux.Devices
	bound.Mounts[1] = specs.Mount{Destination: "/dev", Type: "bind", Source: "/dev", Options: []string{"rbind"}}
	for text, s := range map[string]*specs.Spec{
		"linux.devices[1]: left out: /dev/console is the container's own\nlinux.devices[2]: left out: /dev/ptmx is the container's own": s,
		"linux.devices: left out, all 3: /dev is a bind mount, whose files stay as they are":                                            bound,
	} {
		f := facts()
		f.Prepared = []string{"/image"}
		p, err := plan.New(s, f)
		testutil.Must(t, err)
		if got := strings.Join(p.Warnings, "\n"); !strings.Contains(got, text) {
			t.Errorf("warnings %q, want %q", got, text)
		}
	}
}

// What the container's profile could not say was said when the container was made.
func TestExecDoesNotRepeatTheProfilesWarnings(t *testing.T) {
	f := facts()
	f.Seccomp = &seccomp.Filter{Warnings: []string{"unknown"}}
	p, err := plan.NewExec(spec().Process, f)
	testutil.Must(t, err)
	if slices.Contains(p.Warnings, "unknown") {
		t.Errorf("warnings %q", p.Warnings)
	}
}
