package testutil

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// Namespaces says which namespaces a test wants of its own, as clone(2) flags.
type Namespaces uintptr

// The namespaces that tests use.
const (
	Mount Namespaces = syscall.CLONE_NEWNS
	Net   Namespaces = syscall.CLONE_NEWNET
	IPC   Namespaces = syscall.CLONE_NEWIPC
	UTS   Namespaces = syscall.CLONE_NEWUTS
	PID   Namespaces = syscall.CLONE_NEWPID
)

const (
	envCgroup = "BERTH_TEST_CGROUP"
	envNested = "BERTH_TEST_NESTED"
)

// CgroupRoot returns the cgroup path below which this test binary may make cgroups, such as "/berth-test-1234". The binary
// that uses [Main] fails if one is left.
func CgroupRoot() string {
	if path := os.Getenv(envCgroup); path != "" {
		return path
	}
	return fmt.Sprintf("/berth-test-%d", os.Getpid())
}

// InNamespaces runs the calling test once more, alone, in a process with new namespaces, and reports whether the caller is
// that process. The parent reports its output and result as its own:
//
//	if !testutil.InNamespaces(t, testutil.PID|testutil.Mount) {
//		return
//	}
func InNamespaces(t *testing.T, which Namespaces) bool {
	t.Helper()
	if os.Getenv(envNested) == t.Name() {
		if which&Mount != 0 {
			Must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
		}
		if which&Net != 0 {
			Must(t, LoopbackUp())
		}
		return true
	}
	RequireRoot(t)
	parts := strings.Split(t.Name(), "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run="+strings.Join(parts, "/"), "-test.v", "-test.count=1")
	// A second Main inside would only add namespaces; the nested run checks its leaks in the ones it is given.
	cmd.Env = append(os.Environ(), envNested+"="+t.Name(), envInner+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: uintptr(which | Mount), Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Fatalf("in namespaces: %v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP: "+t.Name()):
		t.Skipf("%s", skipLine(string(out)))
	}
	return false
}

func skipLine(out string) string {
	if i := strings.Index(out, skipPrefix); i >= 0 {
		line, _, _ := strings.Cut(out[i:], "\n")
		return line
	}
	return out
}

// NewNetNS makes a network namespace with loopback up, pinned at the returned path until the test ends.
func NewNetNS(t *testing.T) string {
	t.Helper()
	RequireRoot(t)
	path := filepath.Join(t.TempDir(), "net")
	Must(t, os.WriteFile(path, nil, 0o600))
	Must(t, onThread(func() error {
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare net: %w", err)
		}
		if err := LoopbackUp(); err != nil {
			return err
		}
		// The pin must appear in the process's mount namespace, which all threads share.
		return syscall.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", syscall.Gettid()), path, "", syscall.MS_BIND, "")
	}))
	t.Cleanup(func() {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("unmount %s: %v", path, err)
		}
	})
	return path
}

// InNetNS runs f on a thread that is in the network namespace pinned at path; sockets that f makes stay there. Goroutines
// that f starts are not in it.
func InNetNS(t *testing.T, path string, f func() error) {
	t.Helper()
	ns, err := os.Open(path)
	Must(t, err)
	defer ns.Close()
	Must(t, onThread(func() error {
		if _, _, errno := syscall.RawSyscall(sysSetns, ns.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
			return fmt.Errorf("enter %s: %w", path, errno)
		}
		return f()
	}))
}

// onThread runs f on a thread of its own, which ends with it: its namespaces reach nobody else.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if syscall.Gettid() == syscall.Getpid() {
			// The main thread is never thrown away, and /proc/self is its view. Keep it busy and use another.
			defer runtime.UnlockOSThread()
			result <- onThread(f)
			return
		}
		result <- f() // never unlocked: the runtime throws the thread away
	}()
	return <-result
}

// LoopbackUp sets lo up in the calling thread's network namespace.
func LoopbackUp() error {
	h, err := netlink.NewHandle(syscall.NETLINK_ROUTE) // others are modules that may be missing
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}
