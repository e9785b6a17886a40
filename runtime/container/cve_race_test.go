package container_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/lsm"
)

// runc resolved a mount's destination and then mounted on the path: a container that shares a volume swaps a folder of it
// for a link in between, and the mount, the device node or the missing folders land on the host (CVE-2021-30465,
// CVE-2024-45310; crun's CVE-2019-18837 needed no race). Here it would show as an entry in the host's folder, as a mount in
// the host's table, or as the host's secret in the output.
func TestCVE_2021_30465_2024_45310_RacingMountTargets(t *testing.T) {
	inBothUserNamespaces(t, racingMountTargets)
}

// inBothUserNamespaces runs a race in the host's user namespace, where the host's root makes what a container needs, and in
// one of each container's own, where part of it is made before that is joined and part behind it.
func inBothUserNamespaces(t *testing.T, f func(t *testing.T, n *node, mapped bool)) {
	bin := build(t)
	for name, mapped := range map[string]bool{"host's user namespace": false, "own user namespace": true} {
		t.Run(name, func(t *testing.T) { f(t, newNode(t, bin), mapped) })
	}
}

func racingMountTargets(t *testing.T, n *node, mapped bool) {
	r := newRace(t, n, func(root string) {
		if mapped {
			giveAll(t, root+"/.")
		}
	})
	shared := t.TempDir()
	testutil.Must(t, os.Mkdir(shared+"/a", 0o755))
	testutil.Must(t, os.Symlink(r.host, shared+"/b"))
	if mapped {
		giveAll(t, shared)
	}
	stop := r.swap([2]string{shared + "/a", shared + "/b"})
	r.run(func() *trial {
		tr := n.newTrial(t, "ls:/shared/a", "cat:/shared/a/secret", "touch:/shared/a/made", "cat:/proc/self/mountinfo")
		if mapped {
			tr.mapIDs()
		}
		tr.bind(shared, "/shared", "rbind")
		tr.mount(specs.Mount{Destination: "/shared/a/mnt/deep", Type: "tmpfs", Source: "tmpfs"})
		tr.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/shared/a/dev/null", Type: "c", Major: 1, Minor: 3}}
		tr.spec.Linux.MaskedPaths = append(tr.spec.Linux.MaskedPaths, "/shared/a/secret")
		tr.spec.Linux.ReadonlyPaths = append(tr.spec.Linux.ReadonlyPaths, "/shared/a/mnt")
		return tr
	}, func(tr *trial, out string) {
		wantNot(t, out, secret)
		wantMountsBelow(t, out, "/proc", "/sys", "/dev", "/shared", r.host)
	})
	stop()
	r.wantHostUntouched()
}

// wantMountsBelow wants a mountinfo to have the root, and mounts below these paths only.
func wantMountsBelow(t *testing.T, out string, paths ...string) {
	t.Helper()
	for line := range strings.Lines(out) {
		m := mountinfoLine.FindStringSubmatch(line)
		if m == nil || m[1] == "/" {
			continue
		}
		if !slices.ContainsFunc(paths, func(d string) bool { return m[1] == d || strings.HasPrefix(m[1], d+"/") }) {
			t.Errorf("a mount on %s", m[1])
		}
	}
}

// mountinfoLine finds the mount point in a line of proc_pid_mountinfo(5).
var mountinfoLine = regexp.MustCompile(`\d+ \d+ \d+:\d+ /\S* (/\S*) \S+ .*- `)

// The three of November 2025. runc bound the container's own /dev/null over masked paths, which the image had replaced by a
// link (CVE-2025-31133, youki's CVE-2025-62161); it bound the terminal on a /dev/console looked up by path (CVE-2025-52565,
// youki's CVE-2025-62596); and it wrote sysctls and labels to paths below a /proc that a link or a neighbour's mount had
// replaced (CVE-2025-52881). Here it would show as a masked path that is not the null device, as a terminal mounted
// elsewhere, as a start that claims to have set a sysctl that has its old value, and as a file of the host that was
// mounted over or written to.
func TestCVE_2025_31133_2025_52565_2025_52881_2025_62161_2025_62596_RacingKernelFiles(t *testing.T) {
	inBothUserNamespaces(t, racingKernelFiles)
}

func racingKernelFiles(t *testing.T, n *node, mapped bool) {
	profile := loadedProfile(t)
	fakes := []string{"/keys", "/interrupts", "/sys/net/ipv4/ip_default_ttl", "/self/oom_score_adj", "/self/attr/exec", "/thread-self/attr/apparmor/exec"}
	r := newRace(t, n, func(root string) {
		for _, dir := range []string{root + "/proc", root + "/false"} {
			for _, f := range fakes {
				testutil.Must(t, os.MkdirAll(filepath.Dir(dir+f), 0o755))
				testutil.Must(t, os.WriteFile(dir+f, nil, 0o666))
			}
		}
		testutil.Must(t, os.WriteFile(root+"/dev/console", nil, 0o666))
		testutil.Must(t, os.Symlink("/proc/sys/kernel/hostname", root+"/dev/console-link"))
		testutil.Must(t, syscall.Mknod(root+"/dev/null", syscall.S_IFCHR|0o666, 1<<8|3))
		testutil.Must(t, os.Symlink("/proc/sys/kernel/core_pattern", root+"/dev/null-link"))
		if mapped {
			giveAll(t, root+"/.")
		}
	})
	stop := r.swap(
		[2]string{r.root + "/proc", r.root + "/false"},
		[2]string{r.root + "/dev/console", r.root + "/dev/console-link"},
		[2]string{r.root + "/dev/null", r.root + "/dev/null-link"},
	)
	r.run(func() *trial {
		tr := n.newTrial(t, "cat:/proc/self/mountinfo", "cat:/false/self/mountinfo",
			"openw:/proc/sys/kernel/core_pattern", "openw:/false/sys/kernel/core_pattern",
			"cat:/proc/self/attr/apparmor/current", "cat:/false/self/attr/apparmor/current")
		if mapped {
			tr.mapIDs()
		}
		tr.spec.Process.ApparmorProfile = profile
		tr.spec.Mounts = slices.DeleteFunc(tr.spec.Mounts, func(m specs.Mount) bool { return m.Destination != "/proc" && m.Destination != "/dev/pts" })
		tr.spec.Linux.MaskedPaths = []string{"/proc/keys", "/proc/interrupts"}
		tr.spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_default_ttl": "99"}
		tr.spec.Process.Terminal = n.nth%2 == 0
		tr.opts.Terminal = tr.spec.Process.Terminal
		return tr
	}, func(tr *trial, out string) {
		wantKernelFiles(t, strings.ReplaceAll(out, "\r\n", "\n"))
		if profile != "" && strings.Contains(out, " unconfined") {
			t.Errorf("the profile was not applied:\n%s", out)
		}
	})
	stop()
	r.wantHostUntouched()
	for _, dir := range []string{"/proc", "/false"} {
		for _, f := range fakes {
			if data, err := os.ReadFile(r.root + dir + f); err != nil || len(data) > 0 {
				t.Errorf("%s was written: %q, %v", dir+f, data, err)
			}
		}
	}
}

// loadedProfile returns the name of an AppArmor profile, or "" where there can be none.
func loadedProfile(t *testing.T) string {
	t.Helper()
	have, err := lsm.Detect()
	testutil.Must(t, err)
	if !have.AppArmor || !lsm.CanLoad() {
		return ""
	}
	testutil.Must(t, lsm.EnsureDefault(t.Context()))
	return lsm.DefaultProfile
}

// wantKernelFiles looks at the mounts of a container whose /proc and /dev/console were swapped.
func wantKernelFiles(t *testing.T, out string) {
	t.Helper()
	for _, at := range []string{"/proc", "/false"} {
		if !strings.Contains(out, "openw:"+at+"/sys/kernel/core_pattern error") {
			t.Errorf("core_pattern can be written:\n%s", out)
		}
	}
	// A folder that is renamed takes along what is mounted on it. The mounts are to be complete, wherever /proc is by now.
	if !strings.Contains(out, " - proc ") {
		return // renamed each time that the probe looked
	}
	for _, m := range []string{"/keys", "/interrupts", "/sys"} {
		if !regexp.MustCompile(` (/null|/sys) (/proc|/false)` + m + ` ro,\S+ - (proc|tmpfs) `).MatchString(out) {
			t.Errorf("%s is not covered:\n%s", m, out)
		}
	}
	wantMountsBelow(t, out, "/proc", "/false", "/dev/pts", "/dev/console", "/dev/console-link")
	wantNot(t, out, "/sys/kernel/hostname rw")
}

// runc entered the working directory by its path: with WORKDIR or "exec --cwd" at /proc/self/fd/N, the process began in a
// folder of the host that runc had open (CVE-2024-21626). Here the folder is swapped for such a link while containers
// start in it, and while processes are executed in one that runs. It would show as a working directory that is another, or
// "(unreachable)".
func TestCVE_2024_21626_RacingWorkingFolders(t *testing.T) {
	n := newNode(t, build(t))
	const folders = 20
	r := newRace(t, n, func(root string) {
		for i := range folders {
			testutil.Must(t, os.Mkdir(fmt.Sprintf("%s/w%d", root, i), 0o755))
			testutil.Must(t, os.Symlink(fmt.Sprintf("/proc/self/fd/%d", i), fmt.Sprintf("%s/l%d", root, i)))
		}
	})
	stay := n.newTrial(t, "loop")
	stay.opts.Root = r.clone()
	testutil.Must(t, stay.start())
	var pairs [][2]string
	for i := range folders {
		pairs = append(pairs, [2]string{fmt.Sprintf("%s/w%d", r.root, i), fmt.Sprintf("%s/l%d", r.root, i)})
	}
	stop := r.swap(pairs...)
	i := 0
	next := func() string { i++; return fmt.Sprintf("/w%d", i%folders) }
	r.run(func() *trial {
		tr := n.newTrial(t, "cwd")
		tr.spec.Process.Cwd = next()
		return tr
	}, func(tr *trial, out string) {
		// The folder itself may have got the link's name by the time it is asked for its own.
		if !regexp.MustCompile(` cwd /[wl]\d+\n`).MatchString(out) || strings.Contains(out, "error") {
			t.Errorf("started in %s: %s", tr.spec.Process.Cwd, out)
		}
	})
	ran := 0
	for range tries() {
		dir := next()
		out, _, err := stay.exec(func(p *specs.Process) { p.Cwd = dir }, "cwd")
		if err != nil {
			continue
		}
		if ran++; !regexp.MustCompile(`^cwd /[wl]\d+\n`).MatchString(out) {
			t.Errorf("executed in %s: %s", dir, out)
		}
	}
	if ran == 0 {
		t.Error("none was executed: nothing is shown")
	}
	t.Logf("%d executed", ran)
	stop()
	r.wantHostUntouched()
}
