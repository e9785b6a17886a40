package pod

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// world is what the parts around a manager hold: it outlives managers, as the kernel and the keeper outlive berthd.
type world struct {
	t   *testing.T
	dir string

	mu       sync.Mutex
	held     map[string]bool          // what exists: "netns ID", "network ID", "layer KEY", "cgroup PATH", "shm PATH", "process ID"
	fail     map[string]error         // step → error, until deleted
	gates    map[string]chan struct{} // step → it waits until the channel is closed
	calls    []string
	signals  map[string][]syscall.Signal
	ends     map[string]client.Exit // of processes that have ended
	ignoring map[string]bool        // processes that ignore signals but SIGKILL
	exits    chan container.ExitEvent
	bootID   string
	selinux  bool              // the machine has it
	labels   map[string]string // of files, and of "root"
	collect  time.Duration
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, dir: t.TempDir(), held: map[string]bool{}, fail: map[string]error{}, gates: map[string]chan struct{}{},
		signals: map[string][]syscall.Signal{}, ends: map[string]client.Exit{}, ignoring: map[string]bool{},
		exits: make(chan container.ExitEvent, 100), bootID: "boot-1",
		labels: map[string]string{},
	}
}

// manager starts a manager as a new berthd would, and recovers.
func (w *world) manager() *Manager {
	w.t.Helper()
	m := w.unrecovered()
	if err := m.Recover(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) unrecovered() *Manager {
	w.t.Helper()
	exits := make(chan container.ExitEvent, 100)
	w.mu.Lock()
	w.exits = exits
	w.mu.Unlock()
	m, err := New(w.t.Context(), Config{
		State: filepath.Join(w.dir, "state"), Volumes: filepath.Join(w.dir, "volumes"),
		Images: fakeImages{w}, Network: fakeNetwork{w}, Runtime: fakeRuntime{w, exits}, Cgroups: fakeCgroups{w},
		Namespaces: fakeNamespaces{w}, Machine: fakeMachine{w}, Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
		Limit: time.Minute, Collect: w.collect,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := m.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return m
}

func (w *world) label(file, label string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if label != "" {
		w.labels[file] = label
	}
}

func (w *world) root() (*os.File, error) { return os.Open(w.dir) }

// step records a call, waits at its gate and fails if it is told to.
func (w *world) step(ctx context.Context, name string) error {
	w.mu.Lock()
	w.calls = append(w.calls, name)
	gate := w.gates[name]
	w.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail[name]
}

func (w *world) do(ctx context.Context, name string, effect func()) error {
	if err := w.step(ctx, name); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	effect()
	return nil
}

func (w *world) setFail(step string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		delete(w.fail, step)
		return
	}
	w.fail[step] = err
}

// gate makes a step wait until the function that it returns is called.
func (w *world) gate(step string) (open func()) {
	c := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gates[step] = c
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.gates[step] == c {
			delete(w.gates, step)
			close(c)
		}
	}
}

func (w *world) count(step string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if c == step {
			n++
		}
	}
	return n
}

// left lists what exists.
func (w *world) left() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for thing, there := range w.held {
		if there {
			list = append(list, thing)
		}
	}
	slices.Sort(list)
	return list
}

// end makes a process end, as the keeper would report it.
func (w *world) end(id string, exit client.Exit) {
	w.mu.Lock()
	if !w.held["process "+id] {
		w.mu.Unlock()
		return
	}
	delete(w.held, "process "+id)
	w.ends[id] = exit
	exits := w.exits
	w.mu.Unlock()
	exits <- container.ExitEvent{ID: id, Exit: exit}
}

func podConfig(name string) spec.PodConfig {
	return spec.PodConfig{Name: name, Namespace: "default", UID: "uid-" + name, LogDirectory: os.TempDir()}
}

func containerConfig(name string) spec.ContainerConfig {
	return spec.ContainerConfig{
		Name: name, Image: "busybox", LogPath: name + ".log",
		Security: spec.ContainerSecurity{Namespaces: spec.Namespaces{PID: spec.NamespaceContainer}},
	}
}

// mustRun makes a pod with one running container.
func (w *world) mustRun(m *Manager, name string) (podID, id string) {
	w.t.Helper()
	podID, err := m.RunPod(w.t.Context(), podConfig(name))
	if err != nil {
		w.t.Fatal(err)
	}
	id, err = m.CreateContainer(w.t.Context(), podID, containerConfig("main"))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := m.StartContainer(w.t.Context(), id); err != nil {
		w.t.Fatal(err)
	}
	return podID, id
}

// await waits for a state that a background job reaches; the events tell when to look again.
func (w *world) await(m *Manager, what string, reached func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !reached() {
		if time.Now().After(deadline) {
			w.t.Fatalf("never: %s; left: %v", what, w.left())
		}
		time.Sleep(time.Millisecond)
	}
}

func (w *world) mustState(m *Manager, id string, want ContainerState) ContainerStatus {
	w.t.Helper()
	s, err := m.Container(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	if s.State != want {
		w.t.Fatalf("container is %s (%s %s), want %s", s.State, s.Reason, s.Message, want)
	}
	return s
}

func (w *world) mustBeEmpty() {
	w.t.Helper()
	if left := w.left(); len(left) > 0 {
		w.t.Errorf("left behind: %q", left)
	}
	for _, dir := range []string{"state/pods", "state/containers", "volumes"} {
		entries, err := os.ReadDir(filepath.Join(w.dir, dir))
		if err != nil {
			w.t.Error(err)
		}
		for _, e := range entries {
			w.t.Errorf("left behind: %s", fmt.Sprintf("%s/%s", dir, e.Name()))
		}
	}
}
