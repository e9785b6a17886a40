package e2e

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
)

// containerd copied what lies at an image's VOLUME into the volume by a path of the host's, with its dots (CVE-2022-23648);
// a VOLUME on /proc took AppArmor's files away (CVE-2019-16884). Here it would show as the host's file in the container, or
// as a mount on /proc that is not one of ours.
func TestCVE_2022_23648_2019_16884_HostileVolumes(t *testing.T) {
	outside := t.TempDir()
	testutil.Must(t, os.WriteFile(outside+"/secret", []byte("HOST SECRET"), 0o644))
	h := newHostile(t)
	up := strings.Repeat("/..", 20)
	volumes := []string{up + outside, "/link", "/etc/../../.." + outside, "/proc", "/proc/", "/proc/self/attr", "/proc/sys", "/sys/kernel", "/sys/fs/cgroup/x", "//proc/self", "/dev"}
	ref := h.add("volumes", func(c *v1.Config) {
		c.Volumes = map[string]struct{}{}
		for _, v := range volumes {
			c.Volumes[v] = struct{}{}
		}
	}, linkOf("link", up+outside), linkOf("etc/mtab", outside+"/secret"))
	f := setup(t, node.Options{}, h.dir)
	c := run(t, f.pod(t, "p"), "c", ref, "sleep", "1000")
	if out := exec(t, c, "sh", "-c", "ls -A "+outside+" /link/ && cat "+outside+"/secret /link/secret 2>/dev/null || true"); strings.Contains(out, "secret") || strings.Contains(out, "SECRET") {
		t.Errorf("the host's files are there:\n%s", out)
	}
	for line := range strings.Lines(exec(t, c, "cat", "/proc/self/mountinfo")) {
		before, after, _ := strings.Cut(line, " - ")
		at := strings.Fields(before)[4]
		kernel := strings.HasPrefix(at, "/proc") || strings.HasPrefix(at, "/sys")
		fs := strings.Fields(after)[0]
		if kernel && fs != "proc" && fs != "sysfs" && !strings.HasPrefix(fs, "cgroup") && !strings.Contains(after, "masks") && !strings.HasPrefix(after, "tmpfs cgroup ") {
			t.Errorf("a volume covers %s: %s", at, line)
		}
	}
	if data, err := os.ReadFile(outside + "/secret"); err != nil || string(data) != "HOST SECRET" {
		t.Errorf("the host's file is %q, %v", data, err)
	}
}

// A number that does not fit became root (CVE-2024-40635), or the name of a line that the image had made for it
// (CVE-2026-46680). Here it would show as a container that is created, or as a UID 0 in the image's status, by which the
// kubelet enforces runAsNonRoot.
func TestCVE_2024_40635_2026_46680_UsersOfImages(t *testing.T) {
	h := newHostile(t)
	users := map[string]string{}
	for i, user := range []string{"2147483648", "4294967296", "4294967295", "18446744073709551616", "-1", "+0", "0x0", "1000:4294967296", "1000:-1", "1000:"} {
		name, _, _ := strings.Cut(user, ":")
		users[user] = h.add(fmt.Sprintf("user%d", i), func(c *v1.Config) { c.User = user },
			fileOf("etc/passwd", name+":x:0:0::/root:/bin/sh\nroot:x:0:0::/root:/bin/sh\n"), fileOf("etc/group", name+":x:0:\n4294967296:x:0:\n-1:x:0:\n"))
	}
	f := setup(t, node.Options{}, h.dir)
	p := f.pod(t, "p")
	for user, ref := range users {
		c, err := p.Create(t.Context(), node.ContainerConfig("c", ref, "id"))
		wantError(t, err, []codes.Code{codes.InvalidArgument}, "user")
		if err == nil {
			t.Errorf("user %q: created", user)
			testutil.Must(t, c.Remove(t.Context()))
		}
		s, err := f.ImageStatus(t.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: ref}})
		testutil.Must(t, err)
		if uid := s.GetImage().GetUid(); uid != nil && uid.GetValue() == 0 {
			t.Errorf("user %q is said to be root", user)
		}
	}
}

// Account files of an image were read without a bound, and whatever they were (CRI-O CVE-2025-4437, containerd
// CVE-2026-47262). Here it would show as a create that does not return, or as a berthd that has grown.
func TestCVE_2025_4437_2026_47262_AccountFilesOfImages(t *testing.T) {
	h := newHostile(t)
	refs := map[string]string{
		"huge":    h.add("huge", nil, fileOf("etc/group", strings.Repeat("x", 64<<20))),
		"FIFO":    h.add("fifo", nil, tar.Header{Name: "etc/passwd", Typeflag: tar.TypeFifo, Mode: 0o644}),
		"device":  h.add("device", nil, tar.Header{Name: "etc/passwd", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5, Mode: 0o644}),
		"on host": h.add("link", nil, linkOf("etc/passwd", "/proc/1/environ")),
	}
	f := setup(t, node.Options{}, h.dir)
	p := f.pod(t, "p")
	for name, ref := range refs {
		testutil.Must(t, f.EnsureImage(t.Context(), ref))
		before := residentBytes(t, f.PID())
		cfg := node.ContainerConfig("c", ref, "id")
		cfg.Linux.SecurityContext.RunAsUsername = "daemon"
		_, err := p.Create(t.Context(), cfg)
		wantError(t, err, []codes.Code{codes.InvalidArgument, codes.NotFound}, "etc/")
		if grown := residentBytes(t, f.PID()) - before; grown > 48<<20 {
			t.Errorf("%s: berthd has grown by %d MiB", name, grown>>20)
		}
	}
}

// residentBytes is what a process has in memory.
func residentBytes(t *testing.T, pid int) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	testutil.Must(t, err)
	var size, resident int64
	_, err = fmt.Sscan(string(data), &size, &resident)
	testutil.Must(t, err)
	return resident * int64(os.Getpagesize())
}

// A label of the image became the address of a log driver, and ran a program of the host as root (CVE-2026-53488);
// annotations and labels turned into settings of systemd (CVE-2024-3154), mounts and users (CVE-2023-6476). Here it would
// show as a file that such a program has made, as a log elsewhere, or as a process with another identity.
func TestCVE_2026_53488_2024_3154_2023_6476_ControlInput(t *testing.T) {
	h, made := newHostile(t), filepath.Join(t.TempDir(), "made")
	control := map[string]string{
		"io.containerd.log.uri": "binary:///bin/touch?" + made, "containerd.io/log": "binary:///bin/touch?" + made,
		"io.containerd.runc.v2.group": "x", "io.kubernetes.cri.untrusted-workload": "true", "io.kubernetes.cri-o.LinkLogs": "../../../.." + made,
		"io.kubernetes.cri-o.userns-mode": "private", "io.kubernetes.cri-o.UnifiedCgroup.c": "memory.max=max", "io.kubernetes.cri-o.Devices": "/dev/kmsg:/dev/kmsg:rwm",
		"io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel": "true", "org.systemd.property.ExecStartPre": "'/bin/touch " + made + "'",
		"org.systemd.property.DefaultDependencies": "false", "run.oci.hooks.stdout": made, "run.oci.keep_original_groups": "1", "run.oci.handler": "wasm",
		"run.oci.mount_context_type": "rootcontext", "io.podman.annotations.privileged": "TRUE", "module.wasm.image/variant": "compat",
		"oci.host.hooks/poststart": "/bin/touch " + made, "criu.file": made, "io.kubernetes.cri-o.seccompNotifierAction": "stop", "cpu-load-balancing.crio.io": "disable",
	}
	ref := h.add("labels", func(c *v1.Config) { c.Labels = control })
	f := setup(t, node.Options{}, h.dir)
	identity := func(c *node.Container) string {
		return exec(t, c, "sh", "-c", "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/1/status; ls /dev; cat /proc/1/oom_score_adj; cut -d' ' -f5 /proc/self/mountinfo | sort")
	}
	plain := identity(run(t, f.pod(t, "plain"), "c", busybox, "sleep", "1000"))
	p := f.pod(t, "hostile", func(c *cri.PodSandboxConfig) { c.Annotations = control })
	cfg := node.ContainerConfig("c", ref, "sh", "-c", "echo here; sleep 1000")
	cfg.Annotations, cfg.Labels = control, control
	c, err := p.Run(t.Context(), cfg)
	testutil.Must(t, err)
	if got := identity(c); got != plain {
		t.Errorf("with control input:\n%s\nwithout:\n%s", got, plain)
	}
	wantReady(t, c)
	if _, err := os.Lstat(made); err == nil {
		t.Errorf("%s was made", made)
	}
}

// What looks like a checkpoint was restored: with CDI devices, mounts and a log that the archive names (CVE-2026-53492,
// CVE-2026-50195, CVE-2026-53489). berth restores nothing: it would show as a call that does something, or as an image that
// becomes more than its files.
func TestCVE_2026_53492_2026_50195_2026_53489_Checkpoints(t *testing.T) {
	h, made := newHostile(t), filepath.Join(t.TempDir(), "made")
	marks := map[string]string{"org.criu.checkpoint.container.name": "x", "io.kubernetes.cri-o.annotations.checkpoint.name": "x", "io.podman.annotations.checkpoint.name": "x"}
	ref := h.add("checkpoint", func(c *v1.Config) { c.Labels = marks },
		fileOf("config.dump", `{"rootfsImage":"x","runtime":"runc"}`), fileOf("spec.dump", `{"process":{"args":["/bin/touch","`+made+`"]}}`),
		linkOf("container.log", made), fileOf("checkpoint/inventory.img", "x"))
	f := setup(t, node.Options{}, h.dir)
	p := f.pod(t, "p")
	cfg := node.ContainerConfig("c", ref, "sh", "-c", "echo plain; sleep 1000")
	cfg.Annotations = marks
	c, err := p.Run(t.Context(), cfg)
	testutil.Must(t, err)
	wantReady(t, c)
	wantLog(t, c.Log, []string{"stdout F plain"})
	if out := exec(t, c, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline"); strings.Contains(out, "touch") {
		t.Errorf("process 1 is %q", out)
	}
	_, err = f.CheckpointContainer(t.Context(), &cri.CheckpointContainerRequest{ContainerId: c.ID, Location: made})
	wantError(t, err, []codes.Code{codes.Unimplemented})
	if _, err := os.Lstat(made); err == nil {
		t.Errorf("%s was made", made)
	}
}
