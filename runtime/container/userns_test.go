package container_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/userns"
)

// Whom a test's container has as root.
const (
	mappedUID = 100000
	mappedGID = 200000
)

// mapUsers gives the container a user namespace, and a root file system that belongs to it.
func (tr *trial) mapUsers() {
	tr.mapIDs()
	tr.opts.Root = tr.n.newRoot(tr.t, func(root string) { giveAll(tr.t, root+"/.") })
}

// mapIDs gives the container a user namespace.
func (tr *trial) mapIDs() {
	l := tr.spec.Linux
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	l.UIDMappings = []specs.LinuxIDMapping{{HostID: mappedUID, Size: 65536}}
	l.GIDMappings = []specs.LinuxIDMapping{{HostID: mappedGID, Size: 65536}}
}

func giveAll(t testing.TB, dir string) {
	t.Helper()
	testutil.Must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, mappedUID, mappedGID)
	}))
}

// field returns the words of a line of /proc/PID/status.
func field(out, name string) string {
	for line := range strings.Lines(out) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}

func TestUserNamespace(t *testing.T) {
	n := newNode(t, build(t))
	t.Run("its own sysctls", func(t *testing.T) {
		tr := n.newTrial(t, "cat:/proc/sys/user/max_net_namespaces")
		tr.mapUsers()
		tr.spec.Linux.Sysctl = map[string]string{"user.max_net_namespaces": "7"}
		want(t, tr.run(), "7")
	})
	t.Run("of its own", func(t *testing.T) {
		tr := n.newTrial(t, "ids", "pid", "status", "cat:/proc/self/uid_map", "cat:/proc/self/gid_map", "touch:/work/made", "touch:/dev/shm/made",
			"host", "touch:/dev/null", "cat:/proc/kcore", "write:/proc/sys/kernel/hostname=x", "stat:/dev/null", "stat:/dev/pts/ptmx", "stat:/missing/cwd", "cwd")
		tr.mapUsers()
		tr.spec.Process.Cwd = "/missing/cwd"
		out := tr.run()
		want(t, out, "ids 0 0 0 0 []", "pid 1 0", "host probe-host", "touched /work/made", "touched /dev/shm/made", "touched /dev/null", "cwd /missing/cwd")
		for _, text := range []string{"         0     100000      65536\n", "         0     200000      65536\n", "hostname=x error 30"} {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
		if got := field(out, "CapPrm"); got != field(out, "CapEff") || got == "0000000000000000" || field(out, "CapBnd") != got {
			t.Errorf("capabilities\n%s", out)
		}
		t.Log(out)
	})
	t.Run("seen from the host", func(t *testing.T) {
		tr := n.newTrial(t, "loop")
		tr.mapUsers()
		tr.spec.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{7}}
		testutil.Must(t, tr.start())
		tr.awaitOutput("loop")
		pid, err := n.PID(tr.id)
		testutil.Must(t, err)
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		testutil.Must(t, err)
		for name, value := range map[string]string{"Uid": "101000", "Gid": "201001"} {
			if got := field(string(status), name); got != strings.Join([]string{value, value, value, value}, " ") {
				t.Errorf("%s %s", name, got)
			}
		}
		if got := field(string(status), "Groups"); got != "200007" {
			t.Errorf("groups %s", got)
		}
		if got := field(string(status), "NSpid"); !strings.HasSuffix(got, " 1") {
			t.Errorf("PIDs %s", got)
		}
		m, err := userns.Of(pid)
		testutil.Must(t, err)
		if id, ok := m.HostUID(0); !ok || id != mappedUID {
			t.Errorf("mappings %+v", m)
		}
		belongs(t, pid, "pid", "net", "ipc", "uts", "mnt", "cgroup")
	})
	t.Run("exec", func(t *testing.T) {
		tr := n.newTrial(t, "loop")
		tr.mapUsers()
		testutil.Must(t, tr.start())
		tr.awaitOutput("loop")
		check := func() {
			out, exit, err := tr.exec(nil, "ids", "cat:/proc/self/uid_map", "touch:/work/exec", "status", "cat:/proc/self/oom_score_adj", "rlimit:4")
			testutil.Must(t, err)
			want(t, out, "ids 0 0 0 0 []", "         0     100000      65536", "touched /work/exec")
			if exit.Code != 0 || field(out, "CapEff") == "0000000000000000" {
				t.Errorf("exit %+v\n%s", exit, out)
			}
		}
		check()
		n.shutdown(t)
		n.boot(t)
		_, err := n.Restore(bg(), []container.Restored{{ID: tr.id, Spec: tr.spec, CgroupPath: tr.spec.Linux.CgroupsPath, LogPath: tr.opts.LogPath}})
		testutil.Must(t, err)
		check()
		_, _, err = tr.exec(func(p *specs.Process) { p.User.UID = 70000 }, "ids")
		if err == nil || !strings.Contains(err.Error(), "process.user.uid: user 70000 is not mapped") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("joined, with namespaces that belong to it", func(t *testing.T) {
		m := userns.Mappings{UIDs: []userns.Mapping{{HostID: mappedUID, Size: 65536}}, GIDs: []userns.Mapping{{HostID: mappedGID, Size: 65536}}}
		made, err := userns.Make(m, userns.Kinds{Net: true, IPC: true, UTS: true})
		testutil.Must(t, err)
		defer made.Close()
		path := func(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
		tr := n.newTrial(t, "ids", "pid", "host", "cat:/proc/sys/net/ipv4/ip_unprivileged_port_start", "ls:/sys/class/net")
		tr.mapUsers()
		tr.spec.Linux.UIDMappings, tr.spec.Linux.GIDMappings = nil, nil // they are read from it
		for i := range tr.spec.Linux.Namespaces {
			ns := &tr.spec.Linux.Namespaces[i]
			if f := map[specs.LinuxNamespaceType]*os.File{
				specs.UserNamespace: made.User, specs.NetworkNamespace: made.Net, specs.IPCNamespace: made.IPC, specs.UTSNamespace: made.UTS,
			}[ns.Type]; f != nil {
				ns.Path = path(f)
			}
		}
		tr.spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "77"}
		out := tr.run()
		want(t, out, "ids 0 0 0 0 []", "pid 1 0", "host probe-host", "77")
		bad := n.newTrial(t)
		bad.mapUsers()
		bad.spec.Linux.Namespaces = tr.spec.Linux.Namespaces
		bad.spec.Linux.UIDMappings[0].HostID = 5
		if err := bad.start(); err == nil || !strings.Contains(err.Error(), "linux.uidMappings: user namespace ") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("PID namespace of another container", func(t *testing.T) {
		first := n.newTrial(t, "loop")
		first.mapUsers()
		testutil.Must(t, first.start())
		first.awaitOutput("loop")
		pid, err := n.PID(first.id)
		testutil.Must(t, err)
		tr := n.newTrial(t, "ids", "pid", "ls:/proc/1")
		tr.mapUsers()
		tr.spec.Linux.UIDMappings, tr.spec.Linux.GIDMappings = nil, nil
		for i := range tr.spec.Linux.Namespaces {
			switch ns := &tr.spec.Linux.Namespaces[i]; ns.Type {
			case specs.PIDNamespace, specs.UserNamespace:
				ns.Path = fmt.Sprintf("/proc/%d/ns/%s", pid, ns.Type)
			}
		}
		out := tr.run()
		want(t, out, "ids 0 0 0 0 []")
		wantNot(t, out, "pid 1 ", "error")
	})
	t.Run("terminal", func(t *testing.T) {
		tr := n.newTrial(t, "tty", "stat:/dev/console", "ids")
		tr.mapUsers()
		tr.spec.Process.Terminal, tr.opts.Terminal = true, true
		tr.spec.Process.User = specs.User{UID: 5, GID: 5}
		out := tr.run()
		if !strings.Contains(out, "ids 5 5 5 5 []") || strings.Contains(out, "error") {
			t.Errorf("output\n%s", out)
		}
		t.Log(out)
	})
	t.Run("devices", func(t *testing.T) {
		tr := n.newTrial(t, "touch:/dev/null", "stat:/dev/null", "stat:/dev/fuse", "stat:/dev/mine", "cat:/dev/mine")
		tr.mapUsers()
		mode := fs.FileMode(0o600)
		tr.spec.Linux.Devices = []specs.LinuxDevice{
			{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229},
			{Path: "/dev/mine", Type: "c", Major: 1, Minor: 5, FileMode: &mode}, // root's of the host: not the container's
		}
		out := tr.run()
		want(t, out, "touched /dev/null")
		if !strings.Contains(out, "cat:/dev/mine error 13") {
			t.Errorf("output\n%s", out)
		}
		t.Log(out)
	})
	t.Run("starting processes are not readable, even with CAP_SYS_PTRACE", func(t *testing.T) {
		spy := n.newTrial(t, "spy", "print:done")
		spy.mapUsers()
		c := spy.spec.Process.Capabilities
		c.Bounding = append(c.Bounding, "CAP_SYS_PTRACE")
		c.Permitted, c.Effective = c.Bounding, c.Bounding
		testutil.Must(t, spy.start())
		spy.awaitOutput("spying")
		for range 50 {
			_, _, err := spy.exec(nil, "ids")
			testutil.Must(t, err)
		}
		_, _, err := spy.exec(nil, "touch:/tmp/stop")
		testutil.Must(t, err)
		spy.wait()
		out := spy.output()
		want(t, out, "print done")
		wantNot(t, out, "STOLEN")
	})
	t.Run("root's IDs on the host are out of reach", func(t *testing.T) {
		dir := t.TempDir()
		testutil.Must(t, os.Chmod(dir, 0o755))
		testutil.Must(t, os.WriteFile(dir+"/secret", []byte("secret"), 0o600))
		tr := n.newTrial(t, "cat:/v/secret", "touch:/v/made", "cat:/v/secret")
		tr.mapUsers()
		tr.bind(dir, "/v", "rbind", "rprivate")
		out := tr.run()
		wantNot(t, out, "touched", "\nsecret")
		if strings.Count(out, "error 13") != 3 {
			t.Errorf("output\n%s", out)
		}
	})
}

// belongs checks that namespaces of a process belong to its user namespace (NS_GET_USERNS).
func belongs(t *testing.T, pid int, names ...string) {
	t.Helper()
	const nsGetUserns = 0xb701
	user, err := os.Stat(fmt.Sprintf("/proc/%d/ns/user", pid))
	testutil.Must(t, err)
	for _, name := range names {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		testutil.Must(t, err)
		fd, _, errno := syscall.Syscall(syscall.SYS_IOCTL, ns.Fd(), nsGetUserns, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		owner := os.NewFile(fd, "owner")
		info, err := owner.Stat()
		testutil.Must(t, err)
		if !os.SameFile(user, info) {
			t.Errorf("the %s namespace does not belong to the container's user namespace", name)
		}
		testutil.Must(t, owner.Close())
		testutil.Must(t, ns.Close())
	}
}

// ownersOf gives a folder files of some owners, by name.
func ownersOf(t *testing.T, dir string, owners map[string]int) {
	t.Helper()
	for name, id := range owners {
		testutil.Must(t, os.WriteFile(dir+"/"+name, []byte(name+"\n"), 0o600))
		testutil.Must(t, os.Chown(dir+"/"+name, id, id))
	}
}

func TestIDMappedMounts(t *testing.T) {
	n := newNode(t, build(t))
	dir := t.TempDir()
	testutil.Must(t, os.Chmod(dir, 0o755))
	ownersOf(t, dir, map[string]int{"root": 0, "user": 1000})
	mapping := []specs.LinuxIDMapping{{HostID: mappedUID, Size: 65536}}
	groups := []specs.LinuxIDMapping{{HostID: mappedGID, Size: 65536}}
	run := func(t *testing.T, tr *trial) string {
		t.Helper()
		err := tr.start()
		if errors.Is(err, errdefs.ErrNotSupported) {
			testutil.Skip(t, "%v", err)
		}
		testutil.Must(t, err)
		tr.wait()
		return tr.output()
	}
	t.Run("the container's own mappings", func(t *testing.T) {
		tr := n.newTrial(t, "stat:/v/root", "stat:/v/user", "cat:/v/root", "touch:/v/made", "ls:/v/new/folder")
		tr.mapUsers()
		tr.bind(dir, "/v", "rbind", "rprivate", "idmap")
		tr.mount(specs.Mount{Destination: "/v/new/folder", Type: "tmpfs"})
		out := run(t, tr)
		want(t, out, "root", "touched /v/made")
		for _, text := range []string{"stat /v/root 100600 0:0 ", "stat /v/user 100600 1000:1000 "} {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
		for _, name := range []string{"/made", "/new"} {
			if got := ownerOf(t, dir+name); got != "0:0" {
				t.Errorf("%s belongs to %s on the disk", name, got)
			}
		}
	})
	t.Run("mappings of the mount, without a user namespace", func(t *testing.T) {
		tr := n.newTrial(t, "stat:/v/root", "stat:/v/user", "touch:/v/other")
		tr.mount(specs.Mount{Destination: "/v", Type: "bind", Source: dir, Options: []string{"bind"}, UIDMappings: mapping, GIDMappings: groups})
		out := run(t, tr)
		wantNot(t, out, "touched") // the host's root is not mapped: it owns nothing there
		for _, text := range []string{"stat /v/root 100600 100000:200000 ", "stat /v/user 100600 101000:201000 "} {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
	})
	t.Run("other mappings than the container's, of a mount that is copied at the start", func(t *testing.T) {
		shared := volume(t, syscall.MS_SHARED)
		tr := n.newTrial(t, "stat:/v/file", "stat:/v/sub/file")
		tr.mapUsers()
		tr.mount(specs.Mount{
			Destination: "/v", Type: "bind", Source: shared, Options: []string{"rbind", "rslave", "ridmap"},
			UIDMappings: []specs.LinuxIDMapping{{HostID: mappedUID + 7, Size: 1}}, GIDMappings: []specs.LinuxIDMapping{{HostID: mappedGID + 8, Size: 1}},
		})
		out := run(t, tr)
		for _, text := range []string{"stat /v/file 100644 7:8 ", "stat /v/sub/file 100644 7:8 "} {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
	})
	t.Run("a file system that can't", func(t *testing.T) {
		tr := n.newTrial(t)
		tr.mapUsers()
		tr.bind("/proc/sys", "/v", "bind", "idmap")
		if err := tr.start(); !errors.Is(err, errdefs.ErrNotSupported) || !strings.Contains(err.Error(), "mount /proc/sys on /v: idmap: the file system of /proc/sys has no") {
			t.Errorf("error %v", err)
		}
	})
}

func ownerOf(t *testing.T, path string) string {
	t.Helper()
	var st syscall.Stat_t
	testutil.Must(t, syscall.Lstat(path, &st))
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

// The owner of a container that may write to its control group can make groups below it (cgroup v2 alone).
func TestOwnCgroup(t *testing.T) {
	n := newNode(t, build(t))
	if n.host.Mode() != cgroup.V2 {
		testutil.Skip(t, "the hierarchies here are not a single cgroup v2: v1 groups are given to nobody")
	}
	for option, owner := range map[string]string{"rw": "0:0", "ro": "65534:65534"} {
		tr := n.newTrial(t, "stat:/sys/fs/cgroup", "stat:/sys/fs/cgroup/cgroup.procs", "stat:/sys/fs/cgroup/memory.max")
		tr.mapUsers()
		for i, m := range tr.spec.Mounts {
			if m.Type == "cgroup" {
				tr.spec.Mounts[i].Options = []string{"nosuid", option}
			}
		}
		out := tr.run()
		for file, who := range map[string]string{"": owner, "/cgroup.procs": owner, "/memory.max": "65534:65534"} {
			if !regexp.MustCompile("stat /sys/fs/cgroup" + file + " [0-7]+ " + who + " ").MatchString(out) {
				t.Errorf("%s: /sys/fs/cgroup%s is not %s's in\n%s", option, file, who, out)
			}
		}
	}
}
