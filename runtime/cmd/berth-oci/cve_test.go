package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
)

// runc's binary was open to a container whose command, or whose shell's interpreter, was /proc/self/exe: it could be kept
// open, and overwritten as soon as nothing executed it any longer (CVE-2019-5736). Here it would show as a binary that takes
// the write, or as a changed one.
func TestCVE_2019_5736_OwnBinaryIsSealed(t *testing.T) {
	t.Run("by its entry", func(t *testing.T) { ownBinaryIsSealed(t, newPlace(t)) })
	t.Run("without one", func(t *testing.T) {
		p := newPlace(t)
		p.build()
		ownBinaryIsSealed(t, p)
	})
}

func ownBinaryIsSealed(t *testing.T, p *place) {
	t.Helper()
	sum := func() [32]byte {
		data, err := os.ReadFile(p.binary)
		testutil.Must(t, err)
		return sha256.Sum256(data)
	}
	before := sum()
	testutil.Must(t, os.WriteFile(filepath.Join(p.bundle, "rootfs/script"), []byte("#!/proc/self/exe --version\n"), 0o755))
	p.spec.Process.Args = []string{"sleep", "1000"}
	// By these, root of the container may look at processes that are not dumpable.
	caps := []string{"CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN", "CAP_KILL"}
	p.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	p.write()
	pidFile := filepath.Join(t.TempDir(), "pid")
	p.ok("create", "--pid-file", pidFile, "spy")
	p.ok("start", "spy")
	p.spec.Linux.CgroupsPath += "-2"
	pid, err := os.ReadFile(pidFile)
	testutil.Must(t, err)
	for name, args := range map[string][]string{"executed": {"/proc/self/exe", "--version"}, "interpreter": {"/script"}} {
		t.Run(name, func(t *testing.T) {
			p.spec.Process.Args = args
			p.write()
			for _, r := range []result{p.call("run", "c"), p.call(append([]string{"exec", "spy"}, args...)...)} {
				if !strings.Contains(r.stdout, "berth-oci version") {
					t.Errorf("what ran was not the runtime's binary: nothing is shown: %+v", r)
				}
			}
		})
	}
	t.Run("kept open", func(t *testing.T) { keptOpen(t, p, string(pid)) })
	if sum() != before {
		t.Error("the binary has changed")
	}
}

// keptOpen has the container spy keep open the binary of another in its PID namespace, which is a copy of the runtime until
// it is started, and write to it when that is gone.
func keptOpen(t *testing.T, p *place, spy string) {
	opened, gone, said := p.fifo("opened"), p.fifo("gone"), p.fifo("said")
	for i, n := range p.spec.Linux.Namespaces {
		if n.Type == specs.PIDNamespace {
			p.spec.Linux.Namespaces[i].Path = "/proc/" + spy + "/ns/pid"
		}
	}
	p.write()
	p.ok("create", "copy")
	const script = `for d in /proc/[0-9]*; do
	case $d in /proc/1 | /proc/$$) ;; *) exec 3<$d/exe ;; esac
done
echo opened >/opened
read x </gone
(echo overwritten >/proc/self/fd/3) 2>/said`
	p.ok("exec", "--detach", "spy", "sh", "-c", script)
	data, err := os.ReadFile(opened)
	testutil.Must(t, err)
	want(t, "the spy says", string(data), "opened\n")
	p.ok("delete", "--force", "copy")
	testutil.Must(t, os.WriteFile(gone, []byte("gone\n"), 0))
	data, err = os.ReadFile(said)
	testutil.Must(t, err)
	if !strings.Contains(string(data), "Read-only file system") {
		t.Errorf("writing to it: %q", data)
	}
}

// The runtime's descriptors reached the process: "runc exec" by way of a debugger inside (CVE-2016-9962), and a working
// folder of /proc/self/fd/N, which began in a folder of the host (CVE-2024-21626). Here the caller leaves one open as well. It
// would show as more than three descriptors, and as a start in such a folder.
func TestCVE_2024_21626_2016_9962_NoLeakedDescriptors(t *testing.T) {
	p := newPlace(t)
	host, err := os.Open("/")
	testutil.Must(t, err)
	defer host.Close()
	list := []string{"sh", "-c", "for f in /proc/$$/fd/*; do readlink $f; done | grep -v ^/proc/"}
	p.spec.Process.Args = []string{"sleep", "1000"}
	p.write()
	p.ok("create", "c")
	p.ok("start", "c")
	p.spec.Process.Args = list
	p.spec.Linux.CgroupsPath += "-2"
	p.write()
	inherits := func(args ...string) result {
		cmd := p.command(args...)
		cmd.ExtraFiles = []*os.File{host, host}
		return p.finish(cmd)
	}
	for what, r := range map[string]result{"run": inherits("run", "d"), "exec": inherits(append([]string{"exec", "c"}, list...)...)} {
		if got := lines(r.stdout); r.code != 0 || len(got) != 3 {
			t.Errorf("%s: descriptors %q, %+v", what, got, r)
		}
	}
	p.spec.Process.Args = []string{"pwd"}
	for i := range 100 {
		p.spec.Process.Cwd = fmt.Sprintf("/proc/self/fd/%d", i)
		p.write()
		if r := inherits("run", "e"); r.code == 0 {
			t.Fatalf("started in %s: %+v", p.spec.Process.Cwd, r)
		}
		if r := inherits("exec", "--cwd", p.spec.Process.Cwd, "c", "pwd"); r.code == 0 {
			t.Fatalf("executed in %s: %+v", p.spec.Process.Cwd, r)
		}
	}
}
