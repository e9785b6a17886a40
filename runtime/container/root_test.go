package container_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

// mountPoints returns the mount points that a container's mountinfo lists, in order.
func mountPoints(out string) []string {
	var list []string
	for line := range strings.Lines(out) {
		if before, _, ok := strings.Cut(line, " - "); ok {
			list = append(list, strings.Fields(before)[4])
		}
	}
	return list
}

func TestRoot(t *testing.T) {
	n := newNode(t, build(t))

	t.Run("nothing of the host is mounted", func(t *testing.T) {
		out := n.newTrial(t, "cat:/proc/self/mountinfo").run()
		for _, p := range mountPoints(out) {
			if p == "/" || p == "/proc" || p == "/dev" || p == "/sys" || strings.HasPrefix(p, "/proc/") || strings.HasPrefix(p, "/sys/") ||
				slices.Contains([]string{"/dev/pts", "/dev/shm", "/dev/mqueue"}, p) {
				continue
			}
			t.Errorf("mount on %s", p)
		}
		if roots := slices.DeleteFunc(mountPoints(out), func(p string) bool { return p != "/" }); len(roots) != 1 {
			t.Errorf("%d mounts on /", len(roots))
		}
	})
	t.Run("namespaces are new", func(t *testing.T) {
		tr := n.newTrial(t, "link:/proc/self/ns/pid", "link:/proc/self/ns/mnt", "link:/proc/self/ns/ipc", "link:/proc/self/ns/uts", "link:/proc/self/ns/net", "link:/proc/self/ns/cgroup", "pid", "host", "cat:/proc/self/cgroup")
		out := tr.run()
		for _, ns := range []string{"pid", "mnt", "ipc", "uts", "net", "cgroup"} {
			own, err := os.Readlink("/proc/self/ns/" + ns)
			testutil.Must(t, err)
			wantNot(t, out, own)
			if !strings.Contains(out, "link "+ns+":[") {
				t.Errorf("no %s namespace in %s", ns, out)
			}
		}
		want(t, out, "pid 1 0", "host probe-host")
		for line := range strings.Lines(out) { // the cgroup namespace's root is the container's group
			if strings.HasPrefix(line, "0::") && line != "0::/\n" || strings.Contains(line, ":memory:") && !strings.HasSuffix(line, ":/\n") {
				t.Errorf("cgroup %s", line)
			}
		}
	})
	t.Run("namespaces are joined", func(t *testing.T) {
		netns := testutil.NewNetNS(t)
		first := n.newTrial(t, "loop")
		testutil.Must(t, first.start())
		pid, err := n.PID(first.id)
		testutil.Must(t, err)
		second := n.newTrial(t, "pid", "link:/proc/self/ns/net", "link:/proc/self/ns/pid", "link:/proc/1/ns/ipc", "link:/proc/self/ns/ipc", "host", "stat:/proc/1/exe")
		second.spec.Hostname = ""
		second.spec.Process.Capabilities.Bounding = append(second.spec.Process.Capabilities.Bounding, "CAP_SYS_PTRACE")
		for i, ns := range second.spec.Linux.Namespaces {
			switch ns.Type {
			case specs.PIDNamespace, specs.IPCNamespace, specs.UTSNamespace:
				second.spec.Linux.Namespaces[i].Path = fmt.Sprintf("/proc/%d/ns/%s", pid, ns.Type)
			case specs.NetworkNamespace:
				second.spec.Linux.Namespaces[i].Path = netns
			}
		}
		out := second.run()
		var st syscall.Stat_t
		testutil.Must(t, syscall.Stat(netns, &st))
		pidns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		testutil.Must(t, err)
		ipcns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/ipc", pid))
		testutil.Must(t, err)
		want(t, out, fmt.Sprintf("link net:[%d]", st.Ino), "link "+pidns, "link "+ipcns, "host probe-host")
		wantNot(t, out, "pid 1 0")
	})
	t.Run("host namespaces", func(t *testing.T) {
		tr := n.newTrial(t, "pid", "link:/proc/self/ns/net", "link:/proc/self/ns/pid", "ls:/sys/class/net", "ls:/sys/fs/cgroup")
		tr.spec.Hostname = ""
		tr.spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}}
		out := tr.run()
		for _, ns := range []string{"net", "pid"} {
			own, err := os.Readlink("/proc/self/ns/" + ns)
			testutil.Must(t, err)
			want(t, out, "link "+own)
		}
		wantNot(t, out, "error")
	})
	t.Run("devices", func(t *testing.T) {
		tr := n.newTrial(t, "stat:/dev/null", "stat:/dev/zero", "stat:/dev/full", "stat:/dev/random", "stat:/dev/urandom", "stat:/dev/tty",
			"link:/dev/fd", "link:/dev/stdin", "link:/dev/stdout", "link:/dev/stderr", "link:/dev/ptmx", "link:/dev/core",
			"stat:/dev/my/loop7", "stat:/dev/pipe", "stat:/outside/null", "stat:/dev", "touch:/dev/stdout", "openw:/dev/null")
		uid, gid, mode := uint32(10), uint32(20), os.FileMode(0o640)
		tr.spec.Linux.Devices = []specs.LinuxDevice{
			{Path: "/dev/my/loop7", Type: "b", Major: 7, Minor: 300, UID: &uid, GID: &gid, FileMode: &mode},
			{Path: "/dev/pipe", Type: "p"},
			{Path: "/outside/null", Type: "c", Major: 1, Minor: 3},
		}
		out := tr.run()
		for name, number := range map[string]string{"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"} {
			if !strings.Contains(out, "stat /dev/"+name+" 20666 0:0 "+number+" ") {
				t.Errorf("no /dev/%s %s in\n%s", name, number, out)
			}
		}
		for _, s := range []string{"stat /dev/my/loop7 60640 10:20 7:300 ", "stat /dev/pipe 10666 0:0 0:0 ", "stat /outside/null 20666 0:0 1:3 ", "stat /dev 40755 0:0"} {
			if !strings.Contains(out, s) {
				t.Errorf("no %q in\n%s", s, out)
			}
		}
		want(t, out, "link /proc/self/fd", "link /proc/self/fd/0", "link pts/ptmx", "link /proc/kcore", "touched /dev/stdout")
		wantNot(t, out, "openw")
	})
	t.Run("masked and read-only paths", func(t *testing.T) {
		tr := n.newTrial(t, "ls:/proc/acpi", "ls:/sys/firmware", "stat:/proc/keys", "stat:/secret", "ls:/hidden", "touch:/hidden/x", "touch:/guarded/x",
			"touch:/guarded/sub/x", "cat:/linked/secret", "write:/proc/sys/kernel/hostname=x", "write:/secret=x", "cat:/proc/keys", "cat:/proc/interrupts")
		tr.spec.Linux.MaskedPaths = append(tr.spec.Linux.MaskedPaths, "/secret", "/hidden", "/link/secret", "/absent")
		tr.spec.Linux.ReadonlyPaths = append(tr.spec.Linux.ReadonlyPaths, "/guarded", "/absent")
		tr.opts.Root = n.newRoot(t, func(root string) {
			for _, d := range []string{"hidden", "guarded", "guarded/sub", "linked"} {
				testutil.Must(t, os.Mkdir(root+"/"+d, 0o777))
			}
			testutil.Must(t, os.Symlink("linked", root+"/link"))
			for _, f := range []string{"secret", "hidden/file", "linked/secret"} {
				testutil.Must(t, os.WriteFile(root+"/"+f, []byte("SECRET"), 0o666))
			}
		})
		out := tr.run()
		wantNot(t, out, "SECRET", "entry", "touched", "CPU0", "keyring")
		for _, s := range []string{"stat /secret 20666 0:0 1:3 ", "stat /proc/keys 20666 0:0 1:3 ", "touch:/hidden/x error 30", "touch:/guarded/x error 30", "touch:/guarded/sub/x error 30", "write:/proc/sys/kernel/hostname=x error 30"} {
			if !strings.Contains(out, s) {
				t.Errorf("no %q in\n%s", s, out)
			}
		}
	})
	t.Run("a masked device can't be changed for others", func(t *testing.T) {
		before, err := os.Stat("/dev/null")
		testutil.Must(t, err)
		out := n.newTrial(t, "openw:/proc/keys", "cat:/proc/self/mountinfo").run()
		wantNot(t, out, "openw", "devtmpfs")
		after, err := os.Stat("/dev/null")
		testutil.Must(t, err)
		if before.Mode() != after.Mode() {
			t.Error("the host's /dev/null has changed")
		}
	})
	t.Run("a masked device", func(t *testing.T) {
		tr := n.newTrial(t, "stat:/dev/zero")
		tr.spec.Linux.MaskedPaths = append(tr.spec.Linux.MaskedPaths, "/dev/zero")
		if out := tr.run(); !strings.Contains(out, "stat /dev/zero 20666 0:0 1:3 ") {
			t.Errorf("output %s", out)
		}
	})
	t.Run("a masked path that appears before the start", func(t *testing.T) {
		for name, appear := range map[string]func(string) error{
			"file":   func(p string) error { return os.WriteFile(p, []byte("SECRET"), 0o644) },
			"folder": func(p string) error { return os.Mkdir(p, 0o755) },
			"link":   func(p string) error { return os.Symlink("/etc/passwd", p) },
		} {
			dir := t.TempDir()
			tr := n.newTrial(t, "cat:/v/secret")
			tr.bind(dir, "/v", "rbind")
			tr.spec.Linux.MaskedPaths = append(tr.spec.Linux.MaskedPaths, "/v/secret")
			testutil.Must(t, tr.create())
			testutil.Must(t, appear(dir+"/secret"))
			if _, err := n.Start(bg(), tr.id); err == nil || !strings.Contains(err.Error(), "mask /v/secret") {
				t.Errorf("%s: error %v", name, err)
			}
		}
	})
	t.Run("read-only root", func(t *testing.T) {
		tr := n.newTrial(t, "touch:/x", "touch:/tmp/x", "touch:/dev/x", "touch:/dev/shm/x", "cwd")
		tr.spec.Root.Readonly = true
		tr.spec.Process.Cwd = "/new/folder"
		out := tr.run()
		want(t, out, "touched /dev/x", "touched /dev/shm/x", "cwd /new/folder")
		wantNot(t, out, "touched /x", "touched /tmp/x")
	})
	t.Run("root given by path", func(t *testing.T) {
		tr := n.newTrial(t, "touch:/from-inside", "args")
		dir := t.TempDir()
		root := n.newRoot(t, nil)
		target, err := os.Open(dir)
		testutil.Must(t, err)
		testutil.Must(t, sys.MoveMount(root, target))
		testutil.Must(t, target.Close())
		testutil.Must(t, root.Close())
		t.Cleanup(func() { testutil.Must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
		tr.spec.Root.Path = dir
		testutil.Must(t, tr.startAsIs())
		tr.wait()
		want(t, tr.output(), "touched /from-inside")
		if _, err := os.Stat(filepath.Join(dir, "from-inside")); err != nil {
			t.Error(err)
		}
	})
	t.Run("sysctls", func(t *testing.T) {
		tr := n.newTrial(t, "cat:/proc/sys/net/ipv4/ip_unprivileged_port_start", "cat:/proc/sys/kernel/shm_rmid_forced", "cat:/proc/sys/fs/mqueue/msg_max", "cat:/proc/sys/net/ipv4/conf/lo/forwarding")
		tr.spec.Linux.Sysctl = map[string]string{
			"net.ipv4.ip_unprivileged_port_start": "77", "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "33", "net/ipv4/conf/lo/forwarding": "1",
		}
		want(t, tr.run(), "77", "1", "33", "1")
	})
	t.Run("a sysctl that does not exist", func(t *testing.T) {
		tr := n.newTrial(t, "args")
		tr.spec.Linux.Sysctl = map[string]string{"net.ipv4.no_such_thing": "1"}
		if err := tr.start(); err == nil || !strings.Contains(err.Error(), "set sysctl net/ipv4/no_such_thing: open: no such file or directory") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no mounts at all", func(t *testing.T) {
		tr := n.newTrial(t, "ids", "ls:/")
		tr.spec.Mounts, tr.spec.Linux.MaskedPaths, tr.spec.Linux.ReadonlyPaths = nil, nil, nil
		tr.spec.Root.Readonly = true
		want(t, tr.run(), "ids 0 0 0 0 []")
	})
}
