package container_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/container"
)

// Files below /proc were written to by path: where something had been mounted over them, labels and sysctls went to a file
// of the container's (CVE-2025-52881). A mount of the spec's that covers a part of /proc must not make a sysctl vanish: it
// is set, or the start fails.
func TestCVE_2025_52881_CoveredProc(t *testing.T) {
	n := newNode(t, build(t))
	profile := loadedProfile(t)
	fakes := []string{"net/ipv4/ip_default_ttl", "ipv4/ip_default_ttl", "oom_score_adj", "exec", "attr/exec", "apparmor/exec", "attr/apparmor/exec"}
	for _, where := range []string{
		"/proc/sys", "/proc/sys/net", "/proc/sys/net/ipv4/ip_default_ttl", "/proc/self", "/proc/thread-self", "/proc/self/attr", "/proc/thread-self/attr",
	} {
		t.Run(where, func(t *testing.T) {
			fake := t.TempDir()
			for _, f := range fakes {
				testutil.Must(t, os.MkdirAll(fake+"/"+f[:strings.LastIndex("/"+f, "/")], 0o755))
				testutil.Must(t, os.WriteFile(fake+"/"+f, []byte("fake"), 0o666))
			}
			source := fake
			if strings.HasSuffix(where, "ttl") {
				source += "/oom_score_adj"
			}
			tr := n.newTrial(t, "loop")
			tr.bind(source, where, "rbind")
			tr.spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_default_ttl": "99"}
			score := 321
			tr.spec.Process.OOMScoreAdj, tr.spec.Process.ApparmorProfile = &score, profile
			if err := tr.start(); err == nil {
				wantProcess(t, tr, score)
				wantProfile(t, tr, profile)
			}
			for _, f := range fakes {
				if data, err := os.ReadFile(fake + "/" + f); err != nil || string(data) != "fake" {
					t.Errorf("%s was written: %q, %v", f, data, err)
				}
			}
		})
	}
}

// wantProcess looks from the host at what a start has set.
func wantProcess(t *testing.T, tr *trial, score int) {
	t.Helper()
	pid, err := tr.n.PID(tr.id)
	testutil.Must(t, err)
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	testutil.Must(t, err)
	if strings.TrimSpace(string(data)) != fmt.Sprint(score) {
		t.Errorf("oom_score_adj is %s, not %d", data, score)
	}
	ttl := ""
	testutil.InNetNS(t, fmt.Sprintf("/proc/%d/ns/net", pid), func() error {
		data, err := os.ReadFile("/proc/thread-self/net/../../sys/net/ipv4/ip_default_ttl")
		if err != nil {
			data, err = os.ReadFile("/proc/sys/net/ipv4/ip_default_ttl")
		}
		ttl = strings.TrimSpace(string(data))
		return err
	})
	if ttl != "99" {
		t.Errorf("the sysctl is %s, and the start has succeeded", ttl)
	}
}

// wantProfile looks from the host at what confines a container.
func wantProfile(t *testing.T, tr *trial, profile string) {
	t.Helper()
	if profile == "" {
		return // no AppArmor here; package plan writes to a fake
	}
	pid, err := tr.n.PID(tr.id)
	testutil.Must(t, err)
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/attr/apparmor/current", pid))
	testutil.Must(t, err)
	if !strings.HasPrefix(string(data), profile+" ") {
		t.Errorf("the profile is %s, and the start has succeeded", data)
	}
}

// The same for exec: the container itself has covered its /proc, and made files there that look right.
func TestCVE_2025_52881_CoveredProcInExec(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "mount:/proc", "mkdir:/proc/self", "write:/proc/self/oom_score_adj=fake", "print:ready", "loop")
	tr.mayMount()
	testutil.Must(t, tr.start())
	tr.awaitOutput("ready")
	p := *tr.spec.Process
	p.Args = []string{"/bin/probe", "loop"}
	score := 432
	p.OOMScoreAdj = &score
	e, err := n.Exec(bg(), tr.id, container.ExecOptions{Process: &p})
	testutil.Must(t, err)
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", e.PID))
	testutil.Must(t, err)
	if got := strings.TrimSpace(string(data)); got != "432" {
		t.Errorf("oom_score_adj is %s", got)
	}
	out, _, err := tr.exec(nil, "cat:/proc/self/oom_score_adj")
	testutil.Must(t, err)
	if out != "fake" {
		t.Errorf("the container's file holds %q", out)
	}
	testutil.Must(t, n.Delete(bg(), tr.id, container.DeleteOptions{}))
	testutil.Must(t, e.Close())
}

// Runtimes filled the inheritable set: a file with inheritable capabilities gave them to a process that was not root
// (CVE-2022-24769, and the same in runc CVE-2022-29162, crun CVE-2022-27650, podman CVE-2022-27649, CRI-O CVE-2022-27652).
// Here it would show as a set that is not what the spec says.
func TestCVE_2022_24769_2022_27649_2022_27650_2022_27652_2022_29162_CapabilitySets(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.running(t, nil)
	const chown, kill, raw = 1 << 0, 1 << 5, 1 << 13
	for name, c := range map[string]struct {
		caps specs.LinuxCapabilities
		want [5]uint64 // inheritable, permitted, effective, bounding, ambient
	}{
		"bounding alone": {specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN"}}, [5]uint64{0, 0, 0, chown, 0}},
		"without inheritable": {
			specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_KILL"}, Permitted: []string{"CAP_KILL"}, Effective: []string{"CAP_KILL"}},
			[5]uint64{0, 0, 0, chown | kill, 0},
		},
		"ambient": {
			specs.LinuxCapabilities{
				Bounding: []string{"CAP_CHOWN", "CAP_NET_RAW"}, Permitted: []string{"CAP_NET_RAW"}, Effective: []string{"CAP_NET_RAW"},
				Inheritable: []string{"CAP_NET_RAW"}, Ambient: []string{"CAP_NET_RAW"},
			},
			[5]uint64{raw, raw, raw, chown | raw, raw},
		},
		"none": {specs.LinuxCapabilities{}, [5]uint64{}},
	} {
		t.Run(name, func(t *testing.T) {
			identity := func(p *specs.Process) {
				p.Capabilities, p.User = &c.caps, specs.User{UID: 1000, GID: 1000}
			}
			first := n.newTrial(t, "status")
			identity(first.spec.Process)
			wantSets(t, first.run(), c.want)
			out, _, err := tr.exec(identity, "status")
			testutil.Must(t, err)
			wantSets(t, out, c.want)
		})
	}
}

func wantSets(t *testing.T, out string, want [5]uint64) {
	t.Helper()
	sets := statusSets(t, out)
	for i, name := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if sets[name] != want[i] {
			t.Errorf("%s is %x, not %x", name, sets[name], want[i])
		}
	}
}

// The supplementary groups of the runtime's own process, or of the image, stayed (containerd CVE-2023-25173, Docker
// CVE-2022-36109): a file that denies a group was open to its members. Here it would show as other groups than the spec's.
func TestCVE_2022_36109_2023_25173_SupplementaryGroups(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.running(t, nil)
	for _, groups := range [][]uint32{nil, {7}, {5, 6, 4294967294}} {
		identity := func(p *specs.Process) {
			p.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: groups}
		}
		line := "Groups:\t" + strings.Trim(fmt.Sprint(groups), "[]")
		first := n.newTrial(t, "status")
		identity(first.spec.Process)
		out, _, err := tr.exec(identity, "status")
		testutil.Must(t, err)
		for _, out := range []string{first.run(), out} {
			if !strings.Contains(out, line+" \n") && !strings.Contains(out, line+"\n") {
				t.Errorf("no %q in\n%s", line, out)
			}
		}
	}
}

// A rootless runc without a cgroup namespace left /sys/fs/cgroup writable (CVE-2023-25809): the container could change its own
// limits. Here it would show as a hierarchy that can be written to, with a cgroup namespace or without.
func TestCVE_2023_25809_CgroupsAreReadOnly(t *testing.T) {
	n := newNode(t, build(t))
	for name, namespaces := range map[string]func([]specs.LinuxNamespace) []specs.LinuxNamespace{
		"own namespace":    func(l []specs.LinuxNamespace) []specs.LinuxNamespace { return l },
		"host's namespace": func(l []specs.LinuxNamespace) []specs.LinuxNamespace { return l[:len(l)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			tr := n.newTrial(t, "cat:/proc/self/mountinfo", "touch:/sys/fs/cgroup/x", "ls:/sys/fs/cgroup")
			tr.spec.Linux.Namespaces = namespaces(tr.spec.Linux.Namespaces)
			out, seen := tr.run(), 0
			for line := range strings.Lines(out) {
				m := mountinfoLine.FindStringSubmatch(line)
				if m == nil || !strings.HasPrefix(m[1], "/sys/fs/cgroup") {
					continue
				}
				if seen++; !strings.Contains(line, m[1]+" ro,") {
					t.Errorf("writable: %s", line)
				}
			}
			if seen == 0 {
				t.Errorf("no cgroup mounts in\n%s", out)
			}
			wantNot(t, out, "touched")
		})
	}
}

// containerd started containers in user namespaces outside of their control group, where no limit held (CVE-2025-47291).
// Here it would show as a process in another group, or without the limit.
func TestCVE_2025_47291_LimitsInAUserNamespace(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "loop")
	tr.mapUsers()
	limit := int64(20)
	tr.spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
	testutil.Must(t, tr.start())
	tr.awaitOutput("loop")
	pid, err := n.PID(tr.id)
	testutil.Must(t, err)
	e, err := n.Exec(bg(), tr.id, container.ExecOptions{Process: tr.spec.Process})
	testutil.Must(t, err)
	for _, pid := range []int{pid, e.PID} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		testutil.Must(t, err)
		if !regexp.MustCompile(`(?m)^\d+:(\S*pids\S*|):` + tr.spec.Linux.CgroupsPath + `(/exec-\w+)?$`).Match(data) {
			t.Errorf("the process is not in %s:\n%s", tr.spec.Linux.CgroupsPath, data)
		}
	}
	testutil.Must(t, n.Delete(bg(), tr.id, container.DeleteOptions{}))
	testutil.Must(t, e.Close())
	forks := n.newTrial(t, "forks:50", "exit:0")
	forks.mapUsers()
	forks.spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
	testutil.Must(t, forks.start())
	forks.wait()
	wantNot(t, forks.output(), "forked 50")
}

// A netlink attribute of runc's with a 16-bit length wrapped around, so that what followed was read from the container's
// mount list (CVE-2021-43784). Here lists go to the keeper as a program: whatever is too much for it must be refused, never
// cut off.
func TestCVE_2021_43784_OversizeSpecs(t *testing.T) {
	n := newNode(t, build(t))
	for name, change := range map[string]func(*specs.Spec){
		"environment": func(s *specs.Spec) {
			for i := range 1 << 17 {
				s.Process.Env = append(s.Process.Env, fmt.Sprintf("V%d=", i))
			}
		},
		"arguments": func(s *specs.Spec) { s.Process.Args = append(s.Process.Args, make([]string, 1<<20)...) },
		"mounts": func(s *specs.Spec) {
			for i := range 1 << 16 {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: fmt.Sprintf("/tmp/%d", i), Type: "tmpfs", Source: "tmpfs"})
			}
		},
		"masks": func(s *specs.Spec) {
			for i := range 1 << 17 {
				s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, fmt.Sprintf("/tmp/%d", i))
			}
		},
		"groups":  func(s *specs.Spec) { s.Process.User.AdditionalGids = make([]uint32, 65537) },
		"maps":    func(s *specs.Spec) { s.Linux.UIDMappings = make([]specs.LinuxIDMapping, 1<<16) },
		"devices": func(s *specs.Spec) { s.Linux.Devices = manyDevices(1 << 16) },
	} {
		t.Run(name, func(t *testing.T) {
			tr := n.newTrial(t, "args")
			change(tr.spec)
			if err := tr.create(); !errors.Is(err, errdefs.ErrInvalid) && !errors.Is(err, errdefs.ErrNotSupported) {
				t.Errorf("error %.300v", err)
			}
		})
	}
}

// What is not too long for a list can be for a program: the start says so.
func TestCVE_2021_43784_OversizeProgram(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "args")
	for i := range 1 << 12 {
		tr.spec.Process.Env = append(tr.spec.Process.Env, fmt.Sprintf("V%d=%s", i, strings.Repeat("x", 1<<12)))
	}
	if err := tr.start(); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("error %.300v", err)
	}
}

func manyDevices(n int) (list []specs.LinuxDevice) {
	for i := range n {
		list = append(list, specs.LinuxDevice{Path: fmt.Sprintf("/dev/x%d", i), Type: "c", Major: 1, Minor: 3})
	}
	return list
}
