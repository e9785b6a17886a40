package container_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/container"
)

// runc left a descriptor of the host's cgroup folder open, and a process whose working directory was /proc/self/fd/N began in
// the host's file system (CVE-2024-21626); what "exec" had open could be reached through /proc as well (CVE-2016-9962). Here
// it would show as a fourth descriptor, or as a start in such a folder.
func TestCVE_2024_21626_NoLeakedDescriptors(t *testing.T) {
	n := newNode(t, build(t))
	// A descriptor that is not close-on-exec, as a library might leave one behind.
	fd, err := syscall.Open("/", syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	testutil.Must(t, err)
	defer syscall.Close(fd)
	tr := n.running(t, nil)
	out := n.newTrial(t, "fds").run()
	if c := strings.Count(out, "fd "); c != 3 {
		t.Errorf("%d descriptors:\n%s", c, out)
	}
	out, _, err = tr.exec(nil, "fds")
	testutil.Must(t, err)
	if c := strings.Count(out, "fd "); c != 3 {
		t.Errorf("exec: %d descriptors:\n%s", c, out)
	}
	for i := range 100 {
		for _, dir := range []string{fmt.Sprintf("/proc/self/fd/%d", i), fmt.Sprintf("/link/fd/%d", i)}[:1+(99-i)/80] {
			bad := n.newTrial(t, "cwd", "ls:.", "ls:../../../..")
			bad.spec.Process.Cwd = dir
			bad.opts.LogPath = ""
			bad.opts.Root = n.newRoot(t, func(root string) { testutil.Must(t, os.Symlink("/proc/self", root+"/link")) })
			if err := bad.start(); err == nil {
				t.Errorf("container started in %s", dir)
			}
			if err := n.Delete(bg(), bad.id, container.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, _, err := tr.exec(func(p *specs.Process) { p.Cwd = dir }, "cwd"); err == nil {
				t.Errorf("exec started in %s", dir)
			}
		}
	}
}

// runc's own binary could be opened by /proc/PID/exe and overwritten by a container whose command was /proc/self/exe, or whose
// shell began with #!/proc/self/exe (CVE-2019-5736). Here that would be the keeper's: it would show as a file that can be
// opened for writing, or as a changed one.
func TestCVE_2019_5736_HostBinaryIsOutOfReach(t *testing.T) {
	n := newNode(t, build(t))
	sum := func() [32]byte {
		data, err := os.ReadFile(n.bin.keeper)
		testutil.Must(t, err)
		return sha256.Sum256(data)
	}
	before := sum()
	for name, c := range map[string]struct{ args []string }{
		"executed":    {[]string{"/proc/self/exe", "x"}},
		"interpreter": {[]string{"/bin/script"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := n.newTrial(t)
			tr.spec.Process.Args = c.args
			tr.opts.Root = n.newRoot(t, func(root string) {
				testutil.Must(t, os.WriteFile(root+"/bin/script", []byte("#!/proc/self/exe\n"), 0o755))
			})
			if err := tr.start(); err != nil {
				return // refused is fine too
			}
			tr.wait()
			if out := tr.output(); !strings.Contains(out, "berth-keeper") {
				t.Errorf("what ran was not the keeper's binary:\n%s", out)
			}
		})
		t.Run(name+" in a running container", func(t *testing.T) {
			tr := n.running(t, func(tr *trial) {
				tr.opts.Root = n.newRoot(t, func(root string) {
					testutil.Must(t, os.WriteFile(root+"/bin/script", []byte("#!/proc/self/exe\n"), 0o755))
				})
			})
			out, _, err := tr.exec(func(p *specs.Process) { p.Args = c.args })
			if err == nil && !strings.Contains(out, "berth-keeper") {
				t.Errorf("what ran was not the keeper's binary:\n%s", out)
			}
		})
	}
	// A root process of the container looks at a process that is still a copy of the keeper, and at the keeper where it sees
	// it: in the host's PID namespace.
	tr := n.newTrial(t, fmt.Sprintf("openw:/proc/%d/exe", n.keeperPID(t)), "wait:/tmp/never")
	tr.spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	tr.spec.Hostname = ""
	c := tr.spec.Process.Capabilities
	c.Bounding = append(c.Bounding, "CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH")
	c.Permitted, c.Effective = c.Bounding, c.Bounding
	testutil.Must(t, tr.start())
	out := tr.awaitOutput("openw:")
	if !strings.Contains(out, "read-only file system") && !strings.Contains(out, "text file busy") {
		t.Errorf("open for writing: %s", out)
	}
	if sum() != before {
		t.Error("the keeper's binary has changed")
	}
}

// The keeper's binary is on a read-only mount that no table of mounts shows: were it reachable, it could still not be written.
func TestCVE_2019_5736_KeeperBinaryIsSealed(t *testing.T) {
	n := newNode(t, build(t))
	pid := n.keeperPID(t)
	// Opening it for writing would say ETXTBSY, but only for as long as some process executes it.
	var st syscall.Statfs_t
	testutil.Must(t, syscall.Statfs(fmt.Sprintf("/proc/%d/exe", pid), &st))
	const readonly = 1 // ST_RDONLY
	if st.Flags&readonly == 0 {
		t.Errorf("its mount has flags %#x", st.Flags)
	}
	if err := os.Chmod(fmt.Sprintf("/proc/%d/exe", pid), 0o700); !errors.Is(err, syscall.EROFS) {
		t.Errorf("chmod: %v", err)
	}
	data, err := os.ReadFile("/proc/self/mountinfo")
	testutil.Must(t, err)
	if bytes.Contains(data, []byte("berth-keeper")) {
		t.Error("the mount is visible")
	}
}

// A terminal was taken from wherever the container's /dev/pts led to (CVE-2025-52565). Here it would show as an exec that gets
// one from a file, a FIFO or a device of the container's making, or that hangs.
func TestCVE_2025_52565_TerminalInAForgedDevpts(t *testing.T) {
	n := newNode(t, build(t))
	for name, change := range map[string]func(root string){
		"a file": func(root string) { testutil.Must(t, os.WriteFile(root+"/dev/pts/ptmx", nil, 0o666)) },
		"a FIFO": func(root string) { testutil.Must(t, syscall.Mkfifo(root+"/dev/pts/ptmx", 0o666)) },
		"a device": func(root string) {
			testutil.Must(t, syscall.Mknod(root+"/dev/pts/ptmx", syscall.S_IFCHR|0o666, 1<<8|3))
		},
		"a link":  func(root string) { testutil.Must(t, os.Symlink("/proc/1/root/dev/ptmx", root+"/dev/pts/ptmx")) },
		"nothing": func(string) {},
	} {
		t.Run(name, func(t *testing.T) {
			tr := n.running(t, func(tr *trial) {
				tr.spec.Mounts = tr.spec.Mounts[:1] // proc
				tr.opts.Root = n.newRoot(t, func(root string) {
					testutil.Must(t, os.Mkdir(root+"/dev/pts", 0o755))
					change(root)
				})
			})
			p := *tr.spec.Process
			p.Terminal = true
			_, err := n.Exec(bg(), tr.id, container.ExecOptions{Process: &p, Terminal: true})
			if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "no terminals") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A process that enters a container could be traced, and its files opened, by those inside (CVE-2016-9962). Here it is a copy
// of the keeper until its execve: it would show as a file of the keeper's that somebody inside could name. Root of the
// container tries all the time, with the capabilities that containers usually have. (One with CAP_SYS_PTRACE can trace
// whatever is in its PID namespace, by the meaning of that capability.)
func TestCVE_2016_9962_StartingProcessesAreNotReadable(t *testing.T) {
	n := newNode(t, build(t))
	spy := n.newTrial(t, "spy", "print:done")
	testutil.Must(t, spy.start())
	spy.awaitOutput("spying")
	for range tries() {
		if _, _, err := spy.exec(nil, "ids"); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := spy.exec(nil, "touch:/tmp/stop")
	testutil.Must(t, err)
	spy.wait()
	out := spy.output()
	want(t, out, "print done")
	wantNot(t, out, "STOLEN")
}
