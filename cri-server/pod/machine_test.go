package pod

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

const someMounts = `22 28 0:20 / /proc rw,relatime - proc proc rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 28 0:30 / /run rw shared:5 master:2 - tmpfs tmpfs rw
41 28 0:31 / /mnt/with\040blank rw - tmpfs tmpfs rw
42 40 0:32 / /run/slave rw master:7 - tmpfs tmpfs rw
43 40 0:33 / /run/slave rw - tmpfs tmpfs rw
short line
`

func TestMountOf(t *testing.T) {
	for path, want := range map[string][2]string{
		"/etc/passwd":       {"/", "shared:1 "},
		"/":                 {"/", "shared:1 "},
		"/run":              {"/run", "shared:5 master:2 "},
		"/running":          {"/", "shared:1 "},
		"/mnt/with blank/x": {"/mnt/with blank", ""},
		"/run/slave/x":      {"/run/slave", ""}, // the one on top
	} {
		mount, tags := mountOf(bufio.NewScanner(strings.NewReader(someMounts)), path)
		if d := cmp.Diff(want, [2]string{mount, tags}); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
}

func FuzzMountOf(f *testing.F) {
	f.Add(someMounts, "/run/slave")
	f.Fuzz(func(t *testing.T, lines, path string) {
		mount, _ := mountOf(bufio.NewScanner(strings.NewReader(lines)), path)
		if mount != "" && mount != "/" && !strings.HasPrefix(path, mount) {
			t.Errorf("%q is not on %q", path, mount)
		}
	})
}

func TestCapabilityMask(t *testing.T) {
	got, err := capabilityMask([]byte("Name:\tx\nCapPrm:\t00000000000000ff\nCapBnd:\t000000000000000f\n"))
	if err != nil || got != 0xf {
		t.Errorf("got %x, %v", got, err)
	}
	for _, bad := range []string{"", "CapPrm:\t0\n", "CapPrm:\tz\nCapBnd:\t0\n"} {
		if _, err := capabilityMask([]byte(bad)); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestHugepageSizes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"hugepages-64kB", "hugepages-2048kB", "hugepages-1048576kB", "other"} {
		testutil.Must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	got, err := hugepageSizes(dir)
	if d := cmp.Diff([]string{"1GB", "2MB", "64KB"}, got); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	if got, err := hugepageSizes(filepath.Join(dir, "none")); err != nil || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDevices(t *testing.T) {
	dir := t.TempDir()
	testutil.Must(t, os.Symlink("/dev/null", filepath.Join(dir, "link")))
	testutil.Must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	testutil.Must(t, syscall.Mknod(filepath.Join(dir, "zero"), syscall.S_IFCHR|0o640, 1<<8|5))
	for _, tt := range []struct {
		device spec.Device
		want   []spec.DeviceNode
		kind   error
	}{
		{
			spec.Device{HostPath: filepath.Join(dir, "link"), ContainerPath: "/dev/a", Permissions: "r"},
			[]spec.DeviceNode{{Path: "/dev/a", Type: "c", Major: 1, Minor: 3, Mode: 0o666, Permissions: "r"}},
			nil,
		},
		{
			spec.Device{HostPath: dir, ContainerPath: "/dev/all", Permissions: "rw"}, // links of a folder are not followed
			[]spec.DeviceNode{{Path: "/dev/all/zero", Type: "c", Major: 1, Minor: 5, Mode: 0o640, Permissions: "rw"}}, nil,
		},
		{spec.Device{HostPath: filepath.Join(dir, "file"), ContainerPath: "/dev/f"}, nil, errdefs.ErrInvalid},
		{spec.Device{HostPath: filepath.Join(dir, "none"), ContainerPath: "/dev/f"}, nil, errdefs.ErrInvalid},
	} {
		got, err := Linux().Devices(t.Context(), []spec.Device{tt.device})
		if !errors.Is(err, tt.kind) || tt.kind == nil && err != nil {
			t.Errorf("%s: %v", tt.device.HostPath, err)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", tt.device.HostPath, d)
		}
	}
	all, err := Linux().AllDevices(t.Context())
	testutil.Must(t, err)
	for _, n := range all {
		if n.Path == "/dev/null" || strings.HasPrefix(n.Path, "/dev/pts/") {
			t.Errorf("%s is every container's own", n.Path)
		}
	}
}

func TestDeviceNumbers(t *testing.T) {
	// new_encode_dev: minor's low byte, 12 bits of major, the rest of minor from bit 20 on.
	dev := uint64(0x12)<<8 | 0x34 | uint64(0x56)<<20
	if major(dev) != 0x12 || minor(dev) != 0x5634 {
		t.Errorf("got %x:%x", major(dev), minor(dev))
	}
}

// Copies between a container and the host followed links on the host's side (docker cp: CVE-2018-15664, CVE-2026-41568,
// CVE-2026-42306; podman cp: CVE-2019-10152), or ran a program or loaded a library that they found in the container
// (CVE-2019-14271, CVE-2026-41567). berth copies one way only: what an image has at a VOLUME. Here it would show as the
// host's secret in the volume.
func TestCVE_2018_15664_2019_14271_2026_41568_CopyUpIsNotLedAstray(t *testing.T) {
	testutil.RequireRoot(t)
	image, outside := t.TempDir(), t.TempDir()
	testutil.Must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	vol := filepath.Join(image, "vol")
	testutil.Must(t, os.MkdirAll(filepath.Join(vol, "sub"), 0o750))
	testutil.Must(t, os.WriteFile(filepath.Join(vol, "sub", "setuid"), []byte("x"), 0o755))
	testutil.Must(t, os.Chmod(filepath.Join(vol, "sub", "setuid"), 0o755|os.ModeSetuid))
	testutil.Must(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(vol, "link")))
	testutil.Must(t, os.Symlink(outside, filepath.Join(vol, "folder")))
	testutil.Must(t, os.Symlink(outside, filepath.Join(image, "escape"))) // the path of the VOLUME itself
	testutil.Must(t, syscall.Mkfifo(filepath.Join(vol, "fifo"), 0o600))
	testutil.Must(t, syscall.Mknod(filepath.Join(vol, "dev"), syscall.S_IFCHR|0o666, 1<<8|3))
	root, err := os.Open(image)
	testutil.Must(t, err)
	defer root.Close()

	target := filepath.Join(t.TempDir(), "v", "0")
	testutil.Must(t, Linux().CopyUp(root, "/vol", target, 0, 0))
	if info, err := os.Lstat(filepath.Join(target, "sub", "setuid")); err != nil || info.Mode() != 0o755|os.ModeSetuid {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, link := range []string{"link", "folder"} {
		if info, err := os.Lstat(filepath.Join(target, link)); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s: %v, %v", link, info, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(target, "dev")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a device came along: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(target, "fifo")); err != nil {
		t.Error(err)
	}
	testutil.Must(t, os.WriteFile(filepath.Join(target, "written"), nil, 0o600))
	testutil.Must(t, Linux().CopyUp(root, "/vol", target, 0, 0)) // a volume that exists is left alone
	if _, err := os.Lstat(filepath.Join(target, "written")); err != nil {
		t.Error(err)
	}
	stray := filepath.Join(t.TempDir(), "stray")
	testutil.Must(t, Linux().CopyUp(root, "/escape", stray, 0, 0)) // resolved inside the image, where it is not
	if entries, err := os.ReadDir(stray); err != nil || len(entries) != 0 {
		t.Errorf("copied %v from outside, %v", entries, err)
	}
}

// exchange swaps two names (renameat2 with RENAME_EXCHANGE, which the standard library lacks).
func exchange(from, to *byte) {
	const exchangeFlag = 2
	renameat2, at := map[string]uintptr{"amd64": 316, "arm64": 276}[runtime.GOARCH], -100 // AT_FDCWD
	_, _, _ = syscall.Syscall6(renameat2, uintptr(at), uintptr(unsafe.Pointer(from)), uintptr(at), uintptr(unsafe.Pointer(to)), exchangeFlag, 0)
}

// The same while folders and files of the image are swapped for links all the time.
func TestCVE_2018_15664_RacingCopyUp(t *testing.T) {
	testutil.RequireRoot(t)
	image, outside := t.TempDir(), t.TempDir()
	testutil.Must(t, os.MkdirAll(outside+"/in", 0o755))
	for _, f := range []string{"/secret", "/in/secret"} {
		testutil.Must(t, os.WriteFile(outside+f, []byte("secret"), 0o600))
	}
	for _, d := range []string{"/vol/sub/in", "/spare/in"} {
		testutil.Must(t, os.MkdirAll(image+d, 0o755))
	}
	for _, d := range []string{"/vol/sub/secret", "/vol/sub/in/secret", "/spare/secret", "/spare/in/secret"} {
		testutil.Must(t, os.WriteFile(image+d, []byte("of the image"), 0o600))
	}
	testutil.Must(t, os.Symlink(outside, image+"/link"))
	root, err := os.Open(image)
	testutil.Must(t, err)
	defer root.Close()
	from, err := syscall.BytePtrFromString(image + "/vol/sub")
	testutil.Must(t, err)
	to, err := syscall.BytePtrFromString(image + "/link")
	testutil.Must(t, err)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			exchange(from, to) // what fails is tried again by the next round
		}
	}()
	copied := 0
	targets := t.TempDir()
	for i := range 1000 {
		target := filepath.Join(targets, strconv.Itoa(i))
		if Linux().CopyUp(root, "/vol", target, 0, 0) != nil {
			continue
		}
		for _, f := range []string{"/sub/secret", "/sub/in/secret"} {
			info, err := os.Lstat(target + "/sub")
			if err != nil || !info.IsDir() {
				continue // it was the link, or nothing
			}
			data, err := os.ReadFile(target + f)
			if copied++; err == nil && string(data) != "of the image" {
				t.Errorf("%s is %q", f, data)
			}
		}
	}
	close(stop)
	<-done
	if copied == 0 {
		t.Error("never copied: nothing is shown")
	}
	t.Logf("%d files copied", copied)
}

func TestShmIsMountedAndGone(t *testing.T) {
	testutil.RequireRoot(t)
	path := filepath.Join(t.TempDir(), "shm")
	testutil.Must(t, Linux().MountShm(path, 1<<20))
	var fs syscall.Statfs_t
	testutil.Must(t, syscall.Statfs(path, &fs))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o777 || info.Mode()&os.ModeSticky == 0 || fs.Blocks*uint64(fs.Bsize) != 1<<20 {
		t.Errorf("%v, %d bytes, %v", info.Mode(), fs.Blocks*uint64(fs.Bsize), err)
	}
	for range 2 {
		testutil.Must(t, Linux().Unmount(path))
	}
	testutil.Must(t, Linux().Unmount(path+"/missing"))
}

func TestPrepareSource(t *testing.T) {
	testutil.RequireRoot(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	testutil.Must(t, err)
	testutil.Must(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	testutil.Must(t, os.Symlink("real", filepath.Join(dir, "link")))
	got, err := Linux().PrepareSource(t.Context(), spec.Mount{HostPath: filepath.Join(dir, "link")})
	if err != nil || got != filepath.Join(dir, "real") {
		t.Errorf("link: %s, %v", got, err)
	}
	// The namespaces of this test are private: nothing could be propagated, so it is refused.
	for _, p := range []spec.Propagation{spec.PropagationHostToContainer, spec.PropagationBidirectional} {
		_, err := Linux().PrepareSource(t.Context(), spec.Mount{HostPath: dir, Propagation: p})
		if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "shared") {
			t.Errorf("propagation %d: %v", p, err)
		}
	}
}

func TestOutputTakesWhatIsLeftAndDoesNotWaitForTheRest(t *testing.T) {
	p, err := openPipes(false, true, false)
	testutil.Must(t, err)
	defer func() { testutil.Must(t, p.close()) }()
	got := &limited{limit: 1 << 20}
	_, err = p.stdout.theirs.WriteString("first ")
	testutil.Must(t, err)
	out := copyOutput(p.stdout.ours, got)
	_, err = p.stdout.theirs.WriteString("second") // and the other end stays open, as a child in the background has it
	testutil.Must(t, err)
	done := make(chan error, 1)
	go func() { done <- out.finish() }()
	select {
	case err := <-done:
		if err != nil || string(got.data) != "first second" {
			t.Errorf("got %q, %v", got.data, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for the end of a pipe that has none")
	}
}

func TestLimitedKeepsTheBeginning(t *testing.T) {
	l := &limited{limit: 5}
	for _, s := range []string{"abc", "def", "ghi"} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	}
	if string(l.data) != "abcde" {
		t.Errorf("got %q", l.data)
	}
}

func TestSubtreeOnOldAndNewKernels(t *testing.T) {
	testutil.RequireRoot(t)
	for name, subtree := range map[string]func(*os.File, string) (*os.File, error){
		"as it is": Linux().Subtree, "before 6.15": subtreeInNamespace,
	} {
		t.Run(name, func(t *testing.T) {
			mount := smallMount(t)
			tree, err := subtree(mount, "link/b")
			testutil.Must(t, err)
			if got, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/file", tree.Fd())); err != nil || string(got) != "x" {
				t.Errorf("got %q, %v", got, err)
			}
			testutil.Must(t, errors.Join(tree.Close(), mount.Close()))

			mount = smallMount(t)
			if _, err := subtree(mount, "a/out"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a link that leads out: %v", err)
			}
			testutil.Must(t, mount.Close())
		})
	}
}

// smallMount is a detached mount with a file, and links that stay inside and lead out.
func smallMount(t *testing.T) *os.File {
	t.Helper()
	fs, err := sys.Fsopen("tmpfs")
	testutil.Must(t, err)
	mount, err := fs.Mount("image", 0)
	testutil.Must(t, errors.Join(err, fs.Close()))
	at := fmt.Sprintf("/proc/self/fd/%d", mount.Fd())
	testutil.Must(t, os.MkdirAll(at+"/a/b", 0o755))
	testutil.Must(t, os.WriteFile(at+"/a/b/file", []byte("x"), 0o644))
	testutil.Must(t, os.Symlink("/a", at+"/link"))
	testutil.Must(t, os.Symlink("/etc/passwd", at+"/a/out"))
	return mount
}

func TestSeccompProfilesAreReadWithCare(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		testutil.Must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	testutil.Must(t, syscall.Mkfifo(fifo, 0o600))
	for path, want := range map[string]error{
		write("good.json", `{"defaultAction": "SCMP_ACT_LOG"}`):                            nil,
		write("docker.json", `{"defaultAction": "SCMP_ACT_ERRNO", "archMap": []}`):         errdefs.ErrInvalid,
		write("long.json", strings.Repeat(" ", 2<<20)+`{"defaultAction": "SCMP_ACT_LOG"}`): errdefs.ErrInvalid,
		filepath.Join(dir, "none.json"):                                                    errdefs.ErrNotFound,
		fifo:                                                                               errdefs.ErrInvalid,
		dir:                                                                                errdefs.ErrInvalid,
	} {
		p, err := Linux().Seccomp(path)
		if !errors.Is(err, want) || (want == nil) != (p != nil) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}
