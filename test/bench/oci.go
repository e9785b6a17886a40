package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
)

// OCIFigures are those of one OCI runtime's command line.
type OCIFigures struct {
	Runtime string
	Run     Percentiles // of "run" of a static "true" to its end, group and state gone
	Memory  int64       // bytes at the peak of the process that waits for a container
}

// ociRuntime is a runtime to measure.
type ociRuntime struct {
	name, binary, dir string
	view              chan func() // runs in the mount namespace that it needs; nil: any will do
	times             []time.Duration
}

// measureOCI runs the same bundle with berth-oci and with those of Debian's runtimes that are installed, in turn.
func measureOCI(ctx context.Context, o options) (list []OCIFigures, err error) {
	dir, err := os.MkdirTemp("", "oci")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), removeGroups()) }()
	state, err := os.MkdirTemp("/dev/shm", "oci") // a tmpfs, as /run is where these runtimes keep their state
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(state)) }()
	runtimes, err := findOCI(state)
	if err != nil {
		return nil, err
	}
	short, long := filepath.Join(dir, "short"), filepath.Join(dir, "long")
	err = errors.Join(writeBundle(short, runtimes[0].binary, "true"), writeBundle(long, runtimes[0].binary, workload, "100000"))
	if err != nil {
		return nil, err
	}
	for i := range warmUp + ociRuns*o.runs {
		for j := range runtimes {
			r := runtimes[(i+j)%len(runtimes)] // each begins as often: the kernel clears up after one while the next one runs
			took, err := r.run(ctx, short)
			if err != nil {
				return nil, fmt.Errorf("%s run: %w", r.name, err)
			}
			if i >= warmUp {
				r.times = append(r.times, took)
			}
		}
	}
	for _, r := range runtimes {
		memory, err := r.peak(ctx, long)
		if err != nil {
			return nil, fmt.Errorf("%s run: %w", r.name, err)
		}
		if r.view != nil {
			close(r.view)
		}
		list = append(list, OCIFigures{r.name, percentiles(r.times), memory})
	}
	return list, nil
}

// ociRuns is how many times more often than others this latency is measured, which is shorter.
const ociRuns = 4

func findOCI(state string) ([]*ociRuntime, error) {
	binary, err := node.Binary("berth-oci")
	if err != nil {
		return nil, err
	}
	list := []*ociRuntime{{name: "berth-oci", binary: binary}}
	for _, name := range []string{"crun", "runc"} {
		path, err := exec.LookPath(name)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", name, err)
			continue
		}
		r := &ociRuntime{name: name, binary: path}
		if name == "crun" {
			if r.view, err = withoutUnified(); err != nil {
				return nil, err
			}
		}
		list = append(list, r)
	}
	for _, r := range list {
		r.dir = filepath.Join(state, r.name)
	}
	return list, nil
}

// withoutUnified returns a thread that does not see the cgroup2 mount beside those of v1, which Debian's crun refuses; nil
// where there is none.
func withoutUnified() (chan func(), error) {
	const unified = "/sys/fs/cgroup/unified"
	if _, err := os.Stat(unified); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	work, ready := make(chan func()), make(chan error)
	go func() {
		err := sys.InMountNamespace(func() error {
			if err := syscall.Unmount(unified, 0); err != nil {
				return err
			}
			ready <- nil
			for f := range work {
				f()
			}
			return nil
		})
		if err != nil {
			ready <- err
		}
	}()
	return work, <-ready
}

// run runs a bundle to its end.
func (r *ociRuntime) run(ctx context.Context, bundle string) (took time.Duration, err error) {
	r.see(func() {
		cmd := r.command(ctx, bundle)
		began := time.Now()
		err = cmd.Run()
		took = time.Since(began)
	})
	return took, err
}

func (r *ociRuntime) command(ctx context.Context, bundle string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, r.binary, "--root", r.dir, "run", "--bundle", bundle, "bench-"+r.name)
	cmd.Dir = bundle
	return cmd
}

// see calls f where the runtime sees what it needs.
func (r *ociRuntime) see(f func()) {
	if r.view == nil {
		f()
		return
	}
	done := make(chan struct{})
	r.view <- func() { f(); close(done) }
	<-done
}

// peak returns the most memory that the process that waits for a container has had resident since its execve. (wait4 tells
// another figure, in which this program has a part.)
func (r *ociRuntime) peak(ctx context.Context, bundle string) (memory int64, err error) {
	cmd := r.command(ctx, bundle)
	r.see(func() { err = cmd.Start() })
	if err != nil {
		return 0, err
	}
	child := 0
	err = node.Eventually(ctx, time.Minute, func() error {
		child, err = childNamed(cmd.Process.Pid, workload)
		return err
	})
	if err == nil {
		memory, err = processPeak(cmd.Process.Pid)
		err = errors.Join(err, syscall.Kill(child, syscall.SIGKILL))
	} else {
		err = errors.Join(err, cmd.Process.Kill())
	}
	if end := cmd.Wait(); err == nil && cmd.ProcessState.ExitCode() != 128+int(syscall.SIGKILL) {
		err = end
	}
	return memory, err
}

// childNamed finds a child of a process by the name of its program.
func childNamed(parent int, name string) (int, error) {
	parents, names, err := processTable()
	if err != nil {
		return 0, err
	}
	for pid, of := range parents {
		if of == parent && names[pid] == name {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("process %d has no child %s", parent, name)
}

// writeBundle writes berth-oci's example with a static busybox's command.
func writeBundle(dir, berthOCI string, args ...string) error {
	if err := os.MkdirAll(filepath.Join(dir, "rootfs", "bin"), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"proc", "dev", "sys"} {
		if err := os.Mkdir(filepath.Join(dir, "rootfs", name), 0o755); err != nil {
			return err
		}
	}
	repo, err := node.Repo()
	if err != nil {
		return err
	}
	busybox, err := os.ReadFile(filepath.Join(repo, "build", "cache", "busybox"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "rootfs", "bin", args[0]), busybox, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command(berthOCI, "spec", "--bundle", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("write the bundle's configuration: %w: %s", err, out)
	}
	path := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var s specs.Spec
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	s.Version = "1.0.2" // Debian's crun knows no later one
	s.Process.Args, s.Process.Terminal = args, false
	s.Linux.CgroupsPath = testutil.CgroupRoot() + "/oci"
	if data, err = json.Marshal(s); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// removeGroups removes the folder of this program's control groups, which the runtimes leave.
func removeGroups() error {
	root := testutil.CgroupRoot()
	groups, err := filepath.Glob("/sys/fs/cgroup/*" + root)
	if err != nil {
		return err
	}
	for _, g := range append(groups, "/sys/fs/cgroup"+root) {
		if e := os.Remove(g); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// processPeak reads the most memory that a process has had resident since its execve, in bytes.
func processPeak(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, line, _ := strings.Cut(string(data), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(line, &kib); err != nil {
		return 0, fmt.Errorf("read the peak of process %d: %w", pid, err)
	}
	return kib << 10, nil
}
