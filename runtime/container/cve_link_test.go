package container_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// With a link in place of /proc, runc mounted procfs elsewhere, and what it then wrote to /proc, or hid in it, was a file of the
// image's (CVE-2019-19921, back as CVE-2023-27561). With one in place of /dev, device nodes were made on the host (runc's
// CVE-2026-41579, crun's CVE-2026-47766). Here it would show as a container that can be created, or as files on the host.
func TestCVE_2019_19921_2023_27561_2026_41579_2026_47766_LinksInPlaceOfMountPoints(t *testing.T) {
	n := newNode(t, build(t))
	host := t.TempDir()
	for _, name := range []string{"proc", "sys", "dev"} {
		for _, target := range []string{"/tmp", host, "../../../../../../../.." + host, "/proc/self/cwd", "loop"} {
			tr := n.newTrial(t, "ls:/")
			tr.opts.Root = n.newRoot(t, func(root string) {
				testutil.Must(t, os.Remove(root+"/"+name))
				testutil.Must(t, os.Symlink(target, root+"/"+name))
				testutil.Must(t, os.Symlink("loop", root+"/loop"))
			})
			if err := tr.create(); err == nil || !strings.Contains(err.Error(), "/"+name) {
				t.Errorf("/%s -> %s: error %v", name, target, err)
			}
		}
		tr := n.newTrial(t, "ls:/")
		tr.opts.Root = n.newRoot(t, func(root string) {
			testutil.Must(t, os.Remove(root+"/"+name))
			testutil.Must(t, os.WriteFile(root+"/"+name, nil, 0o644))
		})
		if err := tr.create(); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("/%s a file: error %v", name, err)
		}
	}
	if entries, err := os.ReadDir(host); err != nil || len(entries) > 0 {
		t.Errorf("on the host: %v %v", entries, err)
	}
}

// crun and podman followed the image's link at a volume's destination to the host (CVE-2019-18837, CVE-2019-10152,
// CVE-2024-9341, CVE-2025-9566). Here it would show as a mount in the host's table, or as files in its folders.
func TestCVE_2019_10152_2019_18837_2024_9341_2025_9566_VolumesOnLinks(t *testing.T) {
	n := newNode(t, build(t))
	volume, host := t.TempDir(), t.TempDir()
	testutil.Must(t, os.WriteFile(volume+"/file", []byte("of the volume\n"), 0o644))
	before, err := os.ReadFile("/proc/self/mountinfo")
	testutil.Must(t, err)
	for _, target := range []string{host, host + "/new", "../../../../../../../.." + host, "/var/missing/deep"} {
		tr := n.newTrial(t, "cat:/data/file", "cat:/etc/resolv.conf")
		tr.opts.Root = n.newRoot(t, func(root string) {
			testutil.Must(t, os.Symlink(target, root+"/data"))
			testutil.Must(t, os.Symlink("../run/systemd/resolve/stub-resolv.conf", root+"/etc/resolv.conf"))
		})
		tr.bind(volume, "/data", "rbind")
		tr.bind(volume+"/file", "/etc/resolv.conf", "bind")
		if out := tr.run(); strings.Count(out, "of the volume\n") != 2 {
			t.Errorf("%s: %s", target, out)
		}
	}
	if entries, err := os.ReadDir(host); err != nil || len(entries) > 0 {
		t.Errorf("on the host: %v %v", entries, err)
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	testutil.Must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("mounts have changed")
	}
}

// runc's check for mounts over /proc did not see those that a link in the image led there (CVE-2023-28642): AppArmor's files
// could be covered, and confinement be lost (CVE-2019-16884). Here it would show as a container that can be created.
func TestCVE_2019_16884_2023_28642_VolumesLedIntoProc(t *testing.T) {
	n := newNode(t, build(t))
	for _, target := range []string{"/proc/self/attr", "/proc/sys", "../../proc/1", "/sys/kernel", "/link2", "/proc/self/task/1/attr"} {
		for name, mount := range map[string]specs.Mount{
			"volume": {Destination: "/data", Type: "bind", Source: t.TempDir(), Options: []string{"rbind"}},
			"tmpfs":  {Destination: "/data", Type: "tmpfs", Source: "tmpfs"},
		} {
			tr := n.newTrial(t, "args")
			tr.opts.Root = n.newRoot(t, func(root string) {
				testutil.Must(t, os.Symlink(target, root+"/data"))
				testutil.Must(t, os.Symlink("/proc/self", root+"/link2"))
			})
			tr.mount(mount)
			if err := tr.create(); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "/data is a link to /") {
				t.Errorf("%s on /data -> %s: error %v", name, target, err)
			}
		}
	}
}

// The same for the terminal, which runc mounted on whatever /dev/console was (CVE-2025-52565).
func TestCVE_2025_52565_ConsoleOnALink(t *testing.T) {
	n := newNode(t, build(t))
	for _, target := range []string{"/proc/sys/kernel/core_pattern", "/etc/passwd", "pts/0", "/proc/self/fd/3"} {
		tr := n.newTrial(t, "args")
		tr.spec.Process.Terminal, tr.opts.Terminal = true, true
		tr.spec.Mounts = slices.DeleteFunc(tr.spec.Mounts, func(m specs.Mount) bool {
			return strings.HasPrefix(m.Destination, "/dev") && m.Destination != "/dev/pts"
		})
		tr.opts.Root = n.newRoot(t, func(root string) { testutil.Must(t, os.Symlink(target, root+"/dev/console")) })
		if err := tr.create(); err == nil || !strings.Contains(err.Error(), "/dev/console") {
			t.Errorf("/dev/console -> %s: error %v", target, err)
		}
	}
}

// A hostile image's huge or endless files don't hang or fill us: see package rootfs. Here: that creating is not slowed down
// by what is in the root.
func TestRootFullOfLinks(t *testing.T) {
	n := newNode(t, build(t))
	tr := n.newTrial(t, "cwd")
	tr.opts.Root = n.newRoot(t, func(root string) {
		for i := range 60 {
			testutil.Must(t, os.Symlink(fmt.Sprintf("l%d/l%d/..", i+1, i+1), filepath.Join(root, fmt.Sprintf("l%d", i))))
		}
	})
	tr.spec.Process.Cwd = "/l0/x"
	begin := time.Now()
	err := tr.create()
	if !errors.Is(err, syscall.ELOOP) {
		t.Errorf("error %v", err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}
