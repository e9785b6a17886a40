package container_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/fork"
)

// statusSets reads the five capability sets out of /proc/self/status.
func statusSets(t *testing.T, out string) map[string]uint64 {
	t.Helper()
	sets := make(map[string]uint64)
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(name, "Cap") {
			v, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			testutil.Must(t, err)
			sets[name] = v
		}
	}
	return sets
}

const (
	chown, kill, setgid, netBind = 1 << 0, 1 << 5, 1 << 6, 1 << 10
)

func TestProcess(t *testing.T) {
	n := newNode(t, build(t))

	t.Run("capabilities of root are bounded", func(t *testing.T) {
		tr := n.newTrial(t, "status")
		tr.spec.Process.Capabilities = &specs.LinuxCapabilities{
			Bounding: []string{"CAP_CHOWN", "CAP_KILL"}, Permitted: []string{"CAP_CHOWN"}, Effective: []string{"CAP_CHOWN"},
		}
		// execve gives root all that is in the bounding set (capabilities(7)).
		sets := statusSets(t, tr.run())
		for name, v := range map[string]uint64{"CapBnd": chown | kill, "CapPrm": chown | kill, "CapEff": chown | kill, "CapInh": 0, "CapAmb": 0} {
			if sets[name] != v {
				t.Errorf("%s %x, want %x", name, sets[name], v)
			}
		}
	})
	t.Run("capabilities of a user are the ambient ones", func(t *testing.T) {
		tr := n.newTrial(t, "status", "ids", "umask")
		all := []string{"CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
		net := []string{"CAP_NET_BIND_SERVICE"}
		tr.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Permitted: all, Effective: all, Inheritable: net, Ambient: net}
		umask := uint32(0o027)
		tr.spec.Process.User = specs.User{UID: 1234, GID: 2345, AdditionalGids: []uint32{7, 99, 4294967294}, Umask: &umask}
		tr.spec.Process.NoNewPrivileges = true
		out := tr.run()
		sets := statusSets(t, out)
		for name, v := range map[string]uint64{"CapBnd": chown | kill | netBind, "CapPrm": netBind, "CapEff": netBind, "CapInh": netBind, "CapAmb": netBind} {
			if sets[name] != v {
				t.Errorf("%s %x, want %x", name, sets[name], v)
			}
		}
		want(t, out, "ids 1234 2345 1234 2345 [7 99 4294967294]", "umask 0027", "NoNewPrivs:\t1", "Groups:\t7 99 4294967294 ")
	})
	t.Run("no capabilities at all", func(t *testing.T) {
		tr := n.newTrial(t, "status", "ids")
		tr.spec.Process.Capabilities = nil
		out := tr.run()
		for name, v := range statusSets(t, out) {
			if v != 0 {
				t.Errorf("%s is %x", name, v)
			}
		}
		want(t, out, "ids 0 0 0 0 []", "NoNewPrivs:\t0", "Umask:\t0022")
	})
	t.Run("capabilities that this machine can't give", func(t *testing.T) {
		tr := n.newTrial(t, "status")
		names := []string{"CAP_SYS_RESOURCE", "CAP_SYS_MODULE", "CAP_CHOWN"}
		tr.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: names, Permitted: names, Effective: names}
		own, err := os.ReadFile("/proc/self/status")
		testutil.Must(t, err)
		sets := statusSets(t, tr.run())
		expect := statusSets(t, string(own))["CapPrm"] & (1<<24 | 1<<16 | chown)
		if sets["CapBnd"] != expect {
			t.Errorf("CapBnd %x, want %x", sets["CapBnd"], expect)
		}
		missing := expect != 1<<24|1<<16|chown
		if strings.Contains(n.warned.String(), "capabilities not available here") != missing {
			t.Errorf("warning about missing capabilities: want %t", missing)
		}
	})
	t.Run("environment and arguments", func(t *testing.T) {
		tr := n.newTrial(t, "env", "args", "")
		tr.spec.Process.Args = []string{"/bin/probe", "env", "args"}
		tr.spec.Process.Env = []string{"A=1", "B=two words", "C=\xff\xfe", "EMPTY=", "odd"}
		out := tr.run()
		want(t, out, fmt.Sprintf("env %q", tr.spec.Process.Env), `args ["/bin/probe" "env" "args"]`)
	})
	t.Run("working directory is made", func(t *testing.T) {
		tr := n.newTrial(t, "cwd", "stat:/made/by/us")
		tr.spec.Process.Cwd = "/made/by/us"
		want(t, tr.run(), "cwd /made/by/us")
	})
	t.Run("working directory only root may enter", func(t *testing.T) {
		tr := n.newTrial(t, "cwd", "ls:.")
		tr.opts.Root = n.newRoot(t, func(root string) { testutil.Must(t, os.Mkdir(root+"/secret", 0o700)) })
		tr.spec.Process.Cwd = "/secret"
		tr.spec.Process.User = specs.User{UID: 1000, GID: 1000}
		tr.spec.Process.Capabilities = nil
		want(t, tr.run(), "cwd /secret", "ls:. error 13 open .: permission denied")
	})
	t.Run("working directory behind a link", func(t *testing.T) {
		tr := n.newTrial(t, "cwd")
		tr.opts.Root = n.newRoot(t, func(root string) { testutil.Must(t, os.Symlink("/../../work", root+"/here")) })
		tr.spec.Process.Cwd = "/here"
		want(t, tr.run(), "cwd /work")
	})
	t.Run("command in PATH", func(t *testing.T) {
		tr := n.newTrial(t)
		tr.spec.Process.Args = []string{"probe", "args"}
		tr.spec.Process.Env = []string{"PATH=relative:/nowhere:/etc/passwd:/denied:/bin"}
		tr.opts.Root = n.newRoot(t, func(root string) {
			testutil.Must(t, os.Mkdir(root+"/denied", 0o755))
			testutil.Must(t, os.WriteFile(root+"/denied/probe", []byte("x"), 0o644))
		})
		want(t, tr.run(), `args ["probe" "args"]`)
	})
	t.Run("limits", func(t *testing.T) {
		tr := n.newTrial(t, "cat:/proc/self/limits")
		tr.spec.Process.Rlimits = []specs.POSIXRlimit{
			{Type: "RLIMIT_CORE", Soft: 0, Hard: 4096}, {Type: "RLIMIT_NPROC", Soft: 50, Hard: 60}, {Type: "RLIMIT_STACK", Soft: 1 << 20, Hard: ^uint64(0)},
		}
		out := tr.run()
		for _, fields := range []string{"Max core file size 0 4096 bytes", "Max processes 50 60 processes", "Max stack size 1048576 unlimited bytes"} {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), fields) {
				t.Errorf("no %q in\n%s", fields, out)
			}
		}
	})
	t.Run("oom_score_adj", func(t *testing.T) {
		score := 500
		tr := n.newTrial(t, "cat:/proc/self/oom_score_adj")
		tr.spec.Process.OOMScoreAdj = &score
		want(t, tr.run(), "500")
	})
	t.Run("oom_score_adj that can't be set", func(t *testing.T) {
		own, err := os.ReadFile("/proc/self/status")
		testutil.Must(t, err)
		tr := n.newTrial(t, "cat:/proc/self/oom_score_adj")
		score := -500
		tr.spec.Process.OOMScoreAdj = &score
		out := tr.run()
		if statusSets(t, string(own))["CapPrm"]&(1<<24) != 0 {
			want(t, out, "-500")
			return
		}
		want(t, out, "0")
		if !strings.Contains(n.warned.String(), "lowering it needs CAP_SYS_RESOURCE") {
			t.Error("no warning")
		}
	})
}

func TestStartErrors(t *testing.T) {
	n := newNode(t, build(t))
	for name, c := range map[string]struct {
		args, env []string
		cwd       string
		errno     syscall.Errno
		text      string
	}{
		"missing file":           {[]string{"/bin/nothing"}, nil, "/", syscall.ENOENT, "execute /bin/nothing: no such file or directory"},
		"missing in PATH":        {[]string{"nothing"}, []string{"PATH=/usr/bin:/bin"}, "/", syscall.ENOENT, `find command "nothing" in the container's PATH (/usr/bin:/bin): no such file or directory`},
		"not executable":         {[]string{"/etc/passwd"}, nil, "/", syscall.EACCES, "execute /etc/passwd: permission denied"},
		"not executable in PATH": {[]string{"passwd"}, []string{"PATH=/bin:/etc"}, "/", syscall.EACCES, "execute /etc/passwd: permission denied"},
		"a folder":               {[]string{"/bin"}, nil, "/", syscall.EACCES, "execute /bin: permission denied"},
		"no known format":        {[]string{"/etc/text"}, nil, "/", syscall.ENOEXEC, "execute /etc/text: exec format error"},
		"cwd is a file":          {[]string{"/bin/probe"}, nil, "/etc/passwd", syscall.ENOTDIR, "change to working directory /etc/passwd: not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := n.newTrial(t)
			tr.spec.Process.Args, tr.spec.Process.Cwd = c.args, c.cwd
			if c.env != nil {
				tr.spec.Process.Env = c.env
			}
			tr.opts.Root = n.newRoot(t, func(root string) {
				testutil.Must(t, os.WriteFile(root+"/etc/text", []byte("hello\n"), 0o755))
			})
			err := tr.start()
			var step *fork.StepError
			if !errors.As(err, &step) || !errors.Is(err, c.errno) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("error %v, want %q", err, c.text)
			}
			state, err := n.State(bg(), tr.id)
			testutil.Must(t, err)
			if state.Status != container.StatusStopped || state.Exit.Known {
				t.Errorf("state %+v", state)
			}
			if _, err := n.Start(bg(), tr.id); !errors.Is(err, errdefs.ErrFailedPrecondition) {
				t.Errorf("second start: %v", err)
			}
		})
	}
}

// Limits are checked with the rest of the spec, not when the group is made.
func TestBadLimits(t *testing.T) {
	tr := newNode(t, build(t)).newTrial(t)
	tr.spec.Linux.Resources.CPU = &specs.LinuxCPU{Cpus: "nonsense-x"}
	err := tr.create()
	if !errors.Is(err, errdefs.ErrInvalid) || !strings.HasPrefix(err.Error(), "create container "+tr.id+": linux.resources.cpu.cpus: ") {
		t.Errorf("error %v", err)
	}
}

func TestCreateErrorsHaveNoEffect(t *testing.T) {
	n := newNode(t, build(t))
	for name, c := range map[string]struct {
		change func(*trial)
		kind   error
		text   string
	}{
		"seccomp":            {func(tr *trial) { tr.spec.Linux.Seccomp = &specs.LinuxSeccomp{} }, errdefs.ErrInvalid, "linux.seccomp.defaultAction"},
		"SELinux":            {func(tr *trial) { tr.spec.Process.SelinuxLabel = "x" }, errdefs.ErrNotSupported, "selinuxLabel"},
		"mount label":        {func(tr *trial) { tr.spec.Linux.MountLabel = "x" }, errdefs.ErrNotSupported, "mountLabel"},
		"hooks":              {func(tr *trial) { tr.spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/x"}}} }, errdefs.ErrNotSupported, "hooks"},
		"mapped IDs":         {func(tr *trial) { tr.spec.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1}} }, errdefs.ErrInvalid, "linux.uidMappings"},
		"unknown capability": {func(tr *trial) { tr.spec.Process.Capabilities.Bounding = []string{"CAP_FLY"} }, errdefs.ErrInvalid, `unknown capability "CAP_FLY"`},
		"host sysctl":        {func(tr *trial) { tr.spec.Linux.Sysctl = map[string]string{"kernel.core_pattern": "|/x"} }, errdefs.ErrInvalid, "kernel.core_pattern"},
		"no arguments":       {func(tr *trial) { tr.spec.Process.Args = nil }, errdefs.ErrInvalid, "process.args"},
		"relative cwd":       {func(tr *trial) { tr.spec.Process.Cwd = "x" }, errdefs.ErrInvalid, "process.cwd"},
		"bind option": {func(tr *trial) {
			tr.spec.Mounts = append(tr.spec.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/tmp", Options: []string{"frob"}})
		}, errdefs.ErrInvalid, `"frob"`},
		"missing source": {func(tr *trial) {
			tr.spec.Mounts = append(tr.spec.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/no/such/source"})
		}, fs.ErrNotExist, "/no/such/source"},
		"missing namespace": {func(tr *trial) { tr.spec.Linux.Namespaces[2].Path = "/no/such/ns" }, fs.ErrNotExist, "/no/such/ns"},
		"not a namespace":   {func(tr *trial) { tr.spec.Linux.Namespaces[2].Path = "/etc/passwd" }, errdefs.ErrInvalid, "not a namespace"},
		"bad ID":            {func(tr *trial) { tr.opts.ID = "../x" }, errdefs.ErrInvalid, "container ID"},
		"source goes nowhere": {func(tr *trial) {
			tr.spec.Mounts = append(tr.spec.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: "/tmp", Options: []string{"rbind", "rshared"}})
		}, errdefs.ErrFailedPrecondition, "make-shared"},
		"folder over file": {func(tr *trial) {
			tr.spec.Mounts = append(tr.spec.Mounts, specs.Mount{Destination: "/etc/passwd", Type: "bind", Source: "/tmp", Options: []string{"bind"}})
		}, errdefs.ErrInvalid, "is a file"},
		"host's net sysctl": {func(tr *trial) {
			tr.spec.Linux.Namespaces[4].Path = "/proc/self/ns/net"
			tr.spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
		}, errdefs.ErrInvalid, "is the host's"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := n.newTrial(t)
			c.change(tr)
			err := tr.create()
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("error %v, want %v with %q", err, c.kind, c.text)
			}
			if _, err := n.State(bg(), tr.id); !errors.Is(err, errdefs.ErrNotFound) {
				t.Errorf("the container exists: %v", err)
			}
			if _, err := n.host.Open(tr.spec.Linux.CgroupsPath); !errors.Is(err, errdefs.ErrNotFound) {
				t.Errorf("its cgroup exists: %v", err)
			}
		})
	}
}
