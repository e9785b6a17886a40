package pause_test

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/pause"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func TestProgramIsAnExecutable(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		p, err := pause.Program(arch)
		testutil.Must(t, err)
		f, err := elf.NewFile(bytes.NewReader(p))
		testutil.Must(t, err)
		if f.Machine != machine || f.Type != elf.ET_EXEC || len(f.Progs) != 1 || f.Progs[0].Filesz != uint64(len(p)) {
			t.Errorf("%s: header %+v", arch, f.FileHeader)
		}
	}
	if _, err := pause.Program("mips"); err == nil {
		t.Error("there is a program for mips")
	}
}

// start runs the program as init of a PID namespace.
func start(t *testing.T) *exec.Cmd {
	t.Helper()
	testutil.RequireRoot(t)
	p, err := pause.Program(runtime.GOARCH)
	testutil.Must(t, err)
	path := filepath.Join(t.TempDir(), "pause")
	testutil.Must(t, os.WriteFile(path, p, 0o755))
	cmd := exec.Command(path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	testutil.Must(t, cmd.Start())
	t.Cleanup(func() {
		testutil.Must(t, cmd.Process.Kill())
		if err := cmd.Wait(); err == nil {
			t.Error("it ended by itself")
		}
	})
	return cmd
}

func TestReapsOrphans(t *testing.T) {
	cmd := start(t)
	// nsenter's child is born in the namespace; its own child outlives it and so becomes the init's. /bin/true's end
	// closes the pipe.
	nsenter := testutil.RequireTool(t, "nsenter")
	out, err := exec.Command(nsenter, "-t", strconv.Itoa(cmd.Process.Pid), "-p", "/bin/sh", "-c", "(/bin/sleep 0.05; echo over) & exit 0").CombinedOutput()
	testutil.Must(t, err)
	if string(out) != "over\n" {
		t.Fatalf("output %q", out)
	}
	// An end is seen by the pipe before the task is gone: wait for that, not for a time.
	children := fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid)
	for range 1 << 20 {
		data, err := os.ReadFile(children)
		testutil.Must(t, err)
		if len(data) == 0 {
			return
		}
		runtime.Gosched()
	}
	t.Error("a zombie stays")
}

func TestUsesLittleMemory(t *testing.T) {
	cmd := start(t)
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", cmd.Process.Pid))
	testutil.Must(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			kib, err := strconv.Atoi(strings.Fields(value)[0])
			testutil.Must(t, err)
			t.Logf("PSS %d KiB", kib)
			if kib > 100 {
				t.Errorf("PSS %d KiB, at most 100 are allowed", kib)
			}
			return
		}
	}
	t.Error("no Pss in smaps_rollup")
}

func TestRootHoldsTheProgramAlone(t *testing.T) {
	testutil.RequireRoot(t)
	root, err := pause.Root("")
	testutil.Must(t, err)
	defer root.Close()
	dir := fmt.Sprintf("/proc/self/fd/%d", root.Fd())
	entries, err := os.ReadDir(dir)
	testutil.Must(t, err)
	if len(entries) != 1 || "/"+entries[0].Name() != pause.Path {
		t.Errorf("entries %v", entries)
	}
	if err := os.WriteFile(dir+pause.Path, nil, 0); err == nil {
		t.Error("the program can be written to")
	}
}

// TestRootWhileOthersFork makes roots while other goroutines start programs, whose children hold every file of this process
// until they execute.
func TestRootWhileOthersFork(t *testing.T) {
	testutil.RequireRoot(t)
	stop := make(chan struct{})
	var forks sync.WaitGroup
	for range 4 {
		forks.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := exec.Command("/bin/true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 500 {
		root, err := pause.Root("")
		if err != nil {
			t.Error(err)
			break
		}
		testutil.Must(t, root.Close())
	}
	close(stop)
	forks.Wait()
}
