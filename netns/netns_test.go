package netns_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func readInside(t *testing.T, h *netns.Handle, path string) string {
	t.Helper()
	var got []byte
	err := h.Do(func() (err error) { got, err = os.ReadFile(path); return err })
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(got))
}

func mountsUnder(t *testing.T, mountinfo, dir string) int {
	t.Helper()
	data, err := os.ReadFile(mountinfo)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(data), " "+dir+"/")
}

func TestCreateSetsUpAndRemoveLeavesNothing(t *testing.T) {
	testutil.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "pod", "ns")
	pins, err := netns.Create(t.Context(), netns.Config{
		Dir: dir, Net: true, IPC: true, UTS: true, Hostname: "web-1",
		Sysctls: map[string]string{
			"net.ipv4.ip_unprivileged_port_start": "0",
			"net.ipv4.conf.lo.forwarding":         "1",
			"kernel.shm_rmid_forced":              "1",
			"kernel.domainname":                   "example.org",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netns.Remove(context.Background(), dir) })
	h, err := netns.Open(pins.Net)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	lo, err := h.Netlink().LinkByName("lo")
	if err != nil || lo.Attrs().Flags&1 == 0 {
		t.Errorf("lo is not up: %v, %v", lo, err)
	}
	for key, want := range map[string]string{"ip_unprivileged_port_start": "0", "conf/lo/forwarding": "1"} {
		if got := readInside(t, h, "/proc/sys/net/ipv4/"+key); got != want {
			t.Errorf("%s = %s, want %s", key, got, want)
		}
	}
	out, err := exec.Command("nsenter", "--uts="+pins.UTS, "--ipc="+pins.IPC, "sh", "-c",
		"hostname; cat /proc/sys/kernel/domainname /proc/sys/kernel/shm_rmid_forced").Output()
	if err != nil || string(out) != "web-1\nexample.org\n1\n" {
		t.Errorf("inside: %q, %v", out, err)
	}
	for range 2 {
		if err := netns.Remove(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder is left: %v", err)
	}
	if n := mountsUnder(t, "/proc/self/mountinfo", dir); n != 0 {
		t.Errorf("%d mounts are left", n)
	}
}

func TestCreateUndoesItselfAndLeavesTheThreadsAlone(t *testing.T) {
	testutil.RequireRoot(t)
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "ns")
	_, err = netns.Create(t.Context(), netns.Config{
		Dir: dir, Net: true, UTS: true, Sysctls: map[string]string{"net.ipv4.no_such_key": "1"},
	})
	if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "net.ipv4.no_such_key") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder is left: %v", err)
	}
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		after, err := os.Readlink(task)
		for end := time.Now().Add(10 * time.Second); err == nil && after != before && time.Now().Before(end); {
			after, err = os.Readlink(task) // the thread that made them is told apart by that it ends, if not quite yet
		}
		if err == nil && after != before {
			t.Errorf("%s is in %s, not %s", task, after, before)
		}
	}
}

func TestCreateRefusesAFolderInUse(t *testing.T) {
	testutil.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "ns")
	if _, err := netns.Create(t.Context(), netns.Config{Dir: dir, UTS: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Remove(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	if _, err := netns.Create(t.Context(), netns.Config{Dir: dir, Net: true, UTS: true}); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("got %v", err)
	}
	if n := mountsUnder(t, "/proc/self/mountinfo", dir); n != 1 {
		t.Errorf("%d pins, want the one that was there", n)
	}
}

func TestRemoveFinishesHalfMadeFolders(t *testing.T) {
	testutil.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "ns")
	if _, err := netns.Create(t.Context(), netns.Config{Dir: dir, Net: true}); err != nil {
		t.Fatal(err)
	}
	// What a kill leaves: a file without a mount, and a pin that was mounted twice.
	if err := os.WriteFile(filepath.Join(dir, "uts"), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(filepath.Join(dir, "net"), filepath.Join(dir, "net"), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := netns.Remove(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder is left: %v", err)
	}
}

// A mount namespace cloned with private propagation, while the pod ran, must not keep the pod's namespaces.
func TestRemoveReachesCopiesInOtherMountNamespaces(t *testing.T) {
	testutil.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "ns")
	if _, err := netns.Create(t.Context(), netns.Config{Dir: dir, Net: true, IPC: true, UTS: true}); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; read x")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = other.Wait() })
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	mountinfo := filepath.Join("/proc", strconv.Itoa(other.Process.Pid), "mountinfo")
	if n := mountsUnder(t, mountinfo, dir); n != 3 {
		t.Fatalf("the other mount namespace has %d pins, want 3: the test tests nothing", n)
	}
	if err := netns.Remove(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if n := mountsUnder(t, mountinfo, dir); n != 0 {
		t.Errorf("%d pins are left in the other mount namespace", n)
	}
}
