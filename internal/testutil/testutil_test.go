package testutil_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) {
	if os.Getenv("BERTH_TEST_LEAK") == "self" { // the leaking binary that TestLeaksFailThePackage starts
		os.Unsetenv("BERTH_TEST_NAMESPACES")
		os.Unsetenv("BERTH_TEST_LEAK")
	}
	testutil.Main(m)
}

func TestMainGivesNamespaces(t *testing.T) {
	testutil.RequireRoot(t)
	links, err := net.Interfaces()
	testutil.Must(t, err)
	if len(links) != 1 || links[0].Flags&net.FlagUp == 0 {
		t.Fatalf("want loopback alone and up, have %v", links)
	}
	testutil.Must(t, syscall.Sethostname([]byte("berth-test"))) // reaches this namespace only
}

func TestInNamespacesRunsThere(t *testing.T) {
	if !testutil.InNamespaces(t, testutil.PID) {
		return
	}
	if os.Getpid() != 1 {
		t.Fatalf("pid %d in a new pid namespace", os.Getpid())
	}
}

func TestNewNetNSIsAnother(t *testing.T) {
	path := testutil.NewNetNS(t)
	here, err := os.Readlink("/proc/self/ns/net")
	testutil.Must(t, err)
	testutil.InNetNS(t, path, func() error {
		there, err := os.Readlink(fmt.Sprintf("/proc/self/task/%d/ns/net", syscall.Gettid()))
		if err == nil && there == here {
			err = fmt.Errorf("still in %s", here)
		}
		return err
	})
}

// TestLeaksFailThePackage starts this binary again with one test that leaks, and wants it to fail and say so.
func TestLeaksFailThePackage(t *testing.T) {
	testutil.RequireRoot(t)
	for kind, want := range map[string]string{
		"file": "open file", "goroutine": "goroutine started by", "mount": "mount on", "process": "child process", "tempfile": "temporary file",
		"cgroup": "cgroup /",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestLeak$", "-test.count=1")
			cmd.Env = append(os.Environ(), "BERTH_TEST_LEAK=self", "BERTH_TEST_LEAK_KIND="+kind)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "LEAK: ") || !strings.Contains(string(out), want) {
				t.Fatalf("want a failure that names %q, have %v:\n%s", want, err, out)
			}
		})
	}
}

// TestLeak leaks on purpose, in the binary that TestLeaksFailThePackage starts; elsewhere there is nothing to test.
func TestLeak(t *testing.T) {
	switch kind := os.Getenv("BERTH_TEST_LEAK_KIND"); kind {
	case "":
	case "file":
		_, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		testutil.Must(t, err)
	case "goroutine":
		go func() { select {} }()
	case "mount":
		testutil.Must(t, os.Mkdir(os.TempDir()+"/m", 0o700))
		testutil.Must(t, syscall.Mount("tmpfs", os.TempDir()+"/m", "tmpfs", 0, ""))
	case "process":
		testutil.Must(t, exec.Command("/bin/sh", "-c", "sleep 60 & :").Run())
	case "tempfile":
		testutil.Must(t, os.WriteFile(os.TempDir()+"/left", nil, 0o600))
	case "cgroup":
		testutil.Must(t, os.MkdirAll("/sys/fs/cgroup/pids"+testutil.CgroupRoot()+"/child", 0o755))
	default:
		t.Fatalf("unknown leak %q", kind)
	}
}
