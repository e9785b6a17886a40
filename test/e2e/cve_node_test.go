package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
)

// A line break in HOME, or in a name, became another line of /etc/passwd, and a user without a password (CRI-O CVE-2022-4318,
// CVE-2026-15809). Here it would show as a file that the container sees with a line of the client's in it.
func TestCVE_2022_4318_2026_15809_LinesInFiles(t *testing.T) {
	const line = "evil::0:0::/:/bin/sh"
	f := setup(t, node.Options{})
	for name, change := range map[string]podChange{
		"hostname": func(c *cri.PodSandboxConfig) { c.Hostname = "x\n" + line },
		"search":   func(c *cri.PodSandboxConfig) { c.DnsConfig = &cri.DNSConfig{Searches: []string{"x\n" + line}} },
		"server":   func(c *cri.PodSandboxConfig) { c.DnsConfig = &cri.DNSConfig{Servers: []string{"1.1.1.1\n" + line}} },
		"option":   func(c *cri.PodSandboxConfig) { c.DnsConfig = &cri.DNSConfig{Options: []string{"x\r\n" + line}} },
	} {
		_, err := f.tryPod(t, name, change)
		wantError(t, err, []codes.Code{codes.InvalidArgument})
	}
	cfg := node.ContainerConfig("c", busybox, "sleep", "1000")
	for _, key := range []string{"HOME", "USER", "HOSTNAME"} {
		cfg.Envs = append(cfg.Envs, &cri.KeyValue{Key: key, Value: []byte("/bin\n" + line)})
	}
	c, err := f.pod(t, "p").Run(t.Context(), cfg)
	testutil.Must(t, err)
	if out := exec(t, c, "/bin/sh", "-c", "/bin/cat /etc/passwd /etc/group /etc/hosts /etc/hostname /etc/resolv.conf"); strings.Contains(out, "evil") {
		t.Errorf("the container's files:\n%s", out)
	}
}

// '+' in a sysctl's value or name was a separator of another program's, and set kernel.core_pattern of the host (CRI-O
// CVE-2022-0811). Here it would show as a pod that runs, or as a changed core_pattern.
func TestCVE_2022_0811_Sysctls(t *testing.T) {
	f := setup(t, node.Options{})
	before, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	testutil.Must(t, err)
	for i, pair := range [][2]string{
		{"kernel.shm_rmid_forced", "1+kernel.core_pattern=|/evil"},
		{"kernel.shm_rmid_forced+kernel.core_pattern", "|/evil"},
		{"kernel.core_pattern", "|/evil"},
		{"net.ipv4.../../kernel/core_pattern", "|/evil"},
		{"net/ipv4/../../kernel/core_pattern", "|/evil"},
		{"kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/evil"},
		{"net.ipv4.ip_default_ttl ", "64"},
		{"net.ipv4.ip_default_ttl=1\nkernel.core_pattern", "|/evil"},
	} {
		_, err := f.tryPod(t, fmt.Sprintf("p%d", i), func(c *cri.PodSandboxConfig) { c.Linux.Sysctls = map[string]string{pair[0]: pair[1]} })
		wantError(t, err, anyCode)
	}
	after, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	testutil.Must(t, err)
	if !bytes.Equal(before, after) {
		t.Errorf("core_pattern was %q and is %q", before, after)
	}
}

// The image's /etc/mtab was followed when the runtime made its own (CRI-O CVE-2024-5154), and a log path led out of its
// folder, or was a link (CVE-2025-0750, CVE-2026-53489). Here it would show as a file of the host that was written to.
func TestCVE_2024_5154_2025_0750_FilesOfTheHost(t *testing.T) {
	outside := t.TempDir()
	target := outside + "/target"
	testutil.Must(t, os.WriteFile(target, []byte("untouched"), 0o644))
	h := newHostile(t)
	links := h.add("links", nil, linkOf("etc/mtab", target), linkOf("etc/hosts", target), linkOf("etc/hostname", "../../../.."+target), linkOf("etc/resolv.conf", target))
	kernel := h.add("kernel", nil, linkOf("etc/resolv.conf", "/proc/1/root"+target))
	f := setup(t, node.Options{}, h.dir)
	p := f.pod(t, "p")
	c := run(t, p, "c", links, "sleep", "1000")
	exec(t, c, "sh", "-c", "echo x >/etc/hosts; echo x >/etc/mtab || true")
	_, err := p.Create(t.Context(), node.ContainerConfig("kernel", kernel, "true"))
	wantError(t, err, []codes.Code{codes.InvalidArgument}, "/etc/resolv.conf is a link to /proc/1/root")
	for _, path := range []string{"../../../../../.." + target, "/" + target, "a/../../x", "..", "x\n"} {
		cfg := node.ContainerConfig("log", busybox, "echo", "x")
		cfg.LogPath = path
		_, err := p.Create(t.Context(), cfg)
		wantError(t, err, []codes.Code{codes.InvalidArgument, codes.FailedPrecondition}, "log")
	}
	testutil.Must(t, os.Symlink(target, filepath.Join(p.Config.GetLogDirectory(), "linked.log")))
	cfg := node.ContainerConfig("linked", busybox, "echo", "x")
	cfg.LogPath = "linked.log"
	_, err = p.Run(t.Context(), cfg)
	wantError(t, err, anyCode, "linked.log")
	entries, err := os.ReadDir(outside)
	testutil.Must(t, err)
	if data, err := os.ReadFile(target); err != nil || string(data) != "untouched" || len(entries) != 1 {
		t.Errorf("the host's file is %q, %v; beside it %v", data, err, entries)
	}
}

// containerd's folders and shim sockets were open to every user, or to every process in the host's network namespace, as
// abstract sockets have no modes (CVE-2020-15257, CVE-2021-41103, CVE-2024-25621). Here it would show as a socket with an
// abstract name, or as a folder or socket that others may enter.
func TestCVE_2020_15257_2021_41103_2024_25621_NoOpenDoors(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p", func(c *cri.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions = &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_CONTAINER}
	})
	cfg := node.ContainerConfig("c", busybox, "sleep", "1000")
	cfg.Linux.SecurityContext.NamespaceOptions = p.Config.GetLinux().GetSecurityContext().GetNamespaceOptions()
	c, err := p.Run(t.Context(), cfg)
	testutil.Must(t, err)
	keeper, err := f.KeeperPID()
	testutil.Must(t, err)
	if seen := exec(t, c, "cat", "/proc/net/unix"); !strings.Contains(seen, f.Socket) {
		t.Errorf("the container does not see the host's sockets: nothing is shown:\n%s", seen)
	}
	own := map[string]bool{}
	for _, pid := range []int{f.PID(), keeper} {
		for _, inode := range socketsOf(t, pid) {
			own[inode] = true
		}
	}
	data, err := os.ReadFile("/proc/net/unix")
	testutil.Must(t, err)
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		// The one that marks a network's name as taken is never accepted from, so that nothing can be asked of it.
		if len(fields) > 7 && own[fields[6]] && strings.HasPrefix(fields[7], "@") && !strings.HasPrefix(fields[7], "@berth/network/") {
			t.Errorf("an abstract socket: %s", line)
		}
	}
	for _, dir := range []string{"root", "state"} {
		wantClosed(t, filepath.Join(f.Dir, dir))
	}
}

// socketsOf lists the inodes of a process's sockets.
func socketsOf(t *testing.T, pid int) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	testutil.Must(t, err)
	for _, e := range entries {
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name())) // it may be closed by now
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			list = append(list, strings.TrimSuffix(inode, "]"))
		}
	}
	return list
}

// wantClosed walks what others could reach: a folder that they may not enter ends it, and no socket may be theirs.
func wantClosed(t *testing.T, top string) {
	t.Helper()
	testutil.Must(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode()
		switch {
		case path == top: // made by the test

		case mode&fs.ModeSymlink != 0:
		case mode.Perm()&0o002 != 0:
			t.Errorf("%s can be written by others: %v", path, mode)
		case d.IsDir() && mode.Perm()&0o001 == 0:
			return fs.SkipDir
		case d.IsDir() && mode.Perm()&0o004 != 0:
			t.Errorf("%s can be listed by others: %v", path, mode)
		case mode&fs.ModeSocket != 0 && mode.Perm()&0o006 != 0:
			t.Errorf("%s can be connected to by others: %v", path, mode)
		}
		return nil
	}))
}

// containerd relabelled a host path that was mounted over a file of its own, so that the container could read it
// (CVE-2021-43816). Here it would show as a changed one: where SELinux is off, berth sets none.
func TestCVE_2021_43816_LabelsOfHostPaths(t *testing.T) {
	const label, name = "system_u:object_r:shadow_t:s0\x00", "security.selinux"
	dir := t.TempDir()
	file := dir + "/shadow"
	testutil.Must(t, os.WriteFile(file, []byte("127.0.0.1 localhost\n"), 0o600))
	if err := syscall.Setxattr(file, name, []byte(label), 0); err != nil {
		testutil.Skip(t, "the file system of %s takes no labels: %v", dir, err)
	}
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	cfg := node.ContainerConfig("c", busybox, "sleep", "1000")
	for _, at := range []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/data"} {
		cfg.Mounts = append(cfg.Mounts, &cri.Mount{HostPath: file, ContainerPath: at, SelinuxRelabel: at != "/data"})
	}
	_, err := p.Run(t.Context(), cfg)
	if err != nil {
		wantError(t, err, anyCode, "SELinux") // where there are labels it may be refused
	}
	buf := make([]byte, 200)
	n, err := syscall.Getxattr(file, name, buf)
	if err != nil || string(buf[:n]) != label {
		t.Errorf("the label is %q, %v", buf[:max(n, 0)], err)
	}
}

// The output of ExecSync was kept in memory as long as the command wrote (CVE-2022-31030). Here it would show as an answer, or
// a berthd, of hundreds of megabytes.
func TestCVE_2022_31030_EndlessOutput(t *testing.T) {
	f := setup(t, node.Options{})
	c := run(t, f.pod(t, "p"), "c", busybox, "sleep", "1000")
	before := residentBytes(t, f.PID())
	r, err := f.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: c.ID, Cmd: []string{"sh", "-c", "head -c 300000000 /dev/zero; head -c 300000000 /dev/zero >&2"}, Timeout: 60})
	if n := len(r.GetStdout()) + len(r.GetStderr()); err == nil && n > 40<<20 {
		t.Errorf("the answer has %d bytes", n)
	}
	if grown := residentBytes(t, f.PID()) - before; grown > 256<<20 {
		t.Errorf("berthd has grown by %d MiB", grown>>20)
	}
}

// An image volume's sub path, and a volume's place, on links of the image's: podman's and Docker's copies and mounts followed
// them to the host (CVE-2018-15664, CVE-2019-10152, CVE-2024-1753, CVE-2024-9341, CVE-2025-9566, CVE-2026-41568,
// CVE-2026-42306). Here it would show as the host's secret in the container, or as a file of the container's on the host.
func TestCVE_2024_1753_2026_42306_SubPathsOnLinks(t *testing.T) {
	outside := t.TempDir()
	testutil.Must(t, os.WriteFile(outside+"/secret", []byte("HOST SECRET"), 0o644))
	h, up := newHostile(t), strings.Repeat("../", 20)
	ref := h.add("sub", nil, linkOf("abs", outside), linkOf("rel", up+outside[1:]), linkOf("magic", "/proc/self/root"+outside), linkOf("root", "/"), fileOf("real/file", "of the image\n"))
	f := setup(t, node.Options{}, h.dir)
	testutil.Must(t, f.EnsureImage(t.Context(), ref))
	p := f.pod(t, "p")
	for _, sub := range []string{"abs", "rel", "magic", "root" + outside, "real/../../" + up + outside[1:], "../" + up + outside[1:], "real"} {
		cfg := node.ContainerConfig("c", busybox, "sh", "-c", "ls -R /data; cat /data/* 2>/dev/null; sleep 1000")
		cfg.Mounts = []*cri.Mount{{ContainerPath: "/data", Image: &cri.ImageSpec{Image: ref}, ImageSubPath: sub}}
		c, err := p.Run(t.Context(), cfg)
		if err != nil {
			if sub == "real" {
				t.Error(err)
			}
			continue // refused
		}
		if out := exec(t, c, "sh", "-c", "ls -R /data; cat /data/*"); strings.Contains(out, "secret") || strings.Contains(out, "SECRET") {
			t.Errorf("%s: %s", sub, out)
		}
		testutil.Must(t, c.Remove(t.Context()))
	}
	cfg := node.ContainerConfig("v", ref, "sh", "-c", "touch /abs/made /rel/made; sleep 1000")
	cfg.Mounts = []*cri.Mount{{ContainerPath: "/abs/volume", HostPath: h.dir}, {ContainerPath: "/rel", HostPath: h.dir}}
	c, err := p.Run(t.Context(), cfg)
	testutil.Must(t, err)
	exec(t, c, "true")
	entries, err := os.ReadDir(outside)
	testutil.Must(t, err)
	if len(entries) != 1 {
		t.Errorf("on the host: %v", entries)
	}
}
