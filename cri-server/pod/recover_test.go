package pod

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

func TestARestartKeepsEverything(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, id := w.mustRun(m, "web")
	created, err := m.CreateContainer(t.Context(), podID, containerConfig("created"))
	if err != nil {
		t.Fatal(err)
	}
	ended := w.mustStart(m, podID, "ended")
	at := time.Now().Add(-time.Minute)
	// It ends while nobody listens: the event goes to the manager of before, whose berthd is dead.
	w.mu.Lock()
	delete(w.held, "process "+ended)
	w.ends[ended] = client.Exit{Known: true, Code: 9, At: at}
	w.mu.Unlock()

	m = w.manager()
	if s := w.mustState(m, id, ContainerRunning); s.PID == 0 {
		t.Errorf("running container without PID: %+v", s)
	}
	if s := w.mustState(m, ended, ContainerExited); s.ExitCode != 9 || !s.FinishedAt.Equal(at) {
		t.Errorf("got %d at %v", s.ExitCode, s.FinishedAt)
	}
	w.mustState(m, created, ContainerCreated)
	if err := m.StartContainer(t.Context(), created); err != nil { // it is prepared once more
		t.Fatal(err)
	}
	if again, err := m.RunPod(t.Context(), podConfig("web")); err != nil || again != podID {
		t.Errorf("retry over a restart: %s, %v", again, err)
	}
	if err := m.StopContainer(t.Context(), id, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := m.RemovePod(t.Context(), podID); err != nil {
		t.Fatal(err)
	}
	w.mustBeEmpty()
}

func TestARunningContainerThatNobodyKnowsHasEnded(t *testing.T) {
	w := newWorld(t)
	_, id := w.mustRun(w.manager(), "web")
	w.mu.Lock()
	delete(w.held, "process "+id) // neither runs nor has a recorded end: keeper and journal are gone
	w.mu.Unlock()
	s := w.mustState(w.manager(), id, ContainerExited)
	if s.ExitCode != 255 || s.Reason != "Unknown" || s.Message == "" {
		t.Errorf("got %+v", s)
	}
}

// crashAt lets a manager do something until it hangs in a step, and abandons it there as a kill would.
func crashAt(t *testing.T, w *world, step string, do func(ctx context.Context, m *Manager) error) {
	t.Helper()
	m := w.manager()
	open := w.gate(step)
	done := make(chan error, 1)
	go func() { done <- do(context.Background(), m) }()
	w.await(m, step, func() bool { return w.count(step) > 0 })
	t.Cleanup(func() { open(); <-done })
}

func TestWhatWasHalfMadeAtACrashIsTakenDown(t *testing.T) {
	for _, step := range []string{"make namespaces", "set up network", "mount shm", "resolve", "prepare layer", "mount root", "create"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			crashAt(t, w, step, func(ctx context.Context, m *Manager) error {
				podID, err := m.RunPod(ctx, podConfig("web"))
				if err != nil {
					return err
				}
				_, err = m.CreateContainer(ctx, podID, containerConfig("main"))
				return err
			})
			// What a crash leaves is on disk and in the kernel; the fakes' effects come after the gate, so pretend.
			before := snapshotState(t, w)
			next := crashCopy(t, w, before)
			m := next.manager()
			for _, p := range m.Pods(t.Context(), PodFilter{}) {
				if err := m.RemovePod(t.Context(), p.ID); err != nil {
					t.Fatal(err)
				}
			}
			next.await(m, "empty maps", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.pods)+len(m.containers)+len(m.names) == 0 })
			next.mustBeEmpty()
		})
	}
}

// snapshotState copies the state folder as it is at this moment.
func snapshotState(t *testing.T, w *world) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// crashCopy returns a world as it is after a crash: the same things exist, under the copied folder.
func crashCopy(t *testing.T, w *world, dir string) *world {
	t.Helper()
	next := newWorld(t)
	next.dir = dir
	for _, thing := range w.left() {
		next.held[strings.ReplaceAll(thing, w.dir, dir)] = true
	}
	// Each thing that was in the making may exist as well.
	ids, err := (store{dir: filepath.Join(dir, "state")}).list(podKind())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		pod := filepath.Join(dir, "state", "pods", id)
		for _, thing := range []string{"network " + id, "netns " + pod + "/ns", "shm " + pod + "/shm", "cgroup /berth/" + id} {
			next.held[thing] = true
		}
	}
	return next
}

func TestABrokenRecordIsPutAsideAndItsRemainsAreRemoved(t *testing.T) {
	for _, which := range []kind{podKind(), containerKind()} {
		t.Run(which.folder, func(t *testing.T) {
			w := newWorld(t)
			m := w.manager()
			podID, id := w.mustRun(m, "web")
			otherPod, other := w.mustRun(m, "other")
			broken := map[string]string{"pods": podID, "containers": id}[which.folder]
			path := m.store.path(which, broken)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data[:len(data)/2], 0o600); err != nil {
				t.Fatal(err)
			}
			m = w.manager()
			if _, err := os.Stat(filepath.Join(w.dir, "state", "bad", broken+"."+which.file+".bad")); err != nil {
				t.Error(err)
			}
			w.mustState(m, other, ContainerRunning)
			if _, err := m.Container(t.Context(), id); !errors.Is(err, errdefs.ErrNotFound) {
				t.Errorf("the broken one's container: %v", err)
			}
			for _, p := range []string{podID, otherPod} {
				if err := m.RemovePod(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			w.mustBeEmpty()
		})
	}
}

// TestARecordOfANewerDaemonStopsTheStart wants nothing of its pod to be touched.
func TestARecordOfANewerDaemonStopsTheStart(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, id := w.mustRun(m, "web")
	path := m.store.path(podKind(), podID)
	record, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(record), `"version":1,`, `"version":2,`, 1)
	if err := os.WriteFile(path, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	before := w.left()
	if err := w.unrecovered().Recover(t.Context()); err == nil || !strings.Contains(err.Error(), "newer berthd") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(before, w.left()); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(path, record, 0o600); err != nil {
		t.Fatal(err)
	}
	m = w.manager()
	w.mustState(m, id, ContainerRunning)
	if err := m.RemovePod(t.Context(), podID); err != nil {
		t.Fatal(err)
	}
	w.mustBeEmpty()
}

func TestAfterARebootNothingIsLeft(t *testing.T) {
	w := newWorld(t)
	w.mustRun(w.manager(), "web")
	w.bootID = "boot-2"
	w.mu.Lock()
	for thing := range w.held { // the kernel forgot all but what is on disk
		if !strings.HasPrefix(thing, "layer ") {
			delete(w.held, thing)
		}
	}
	w.mu.Unlock()
	if err := os.MkdirAll(filepath.Join(w.dir, "volumes", newID(), "0"), 0o700); err != nil {
		t.Fatal(err)
	}
	m := w.manager()
	if n := len(m.Pods(t.Context(), PodFilter{})); n != 0 {
		t.Errorf("%d pods after a reboot", n)
	}
	w.mustBeEmpty()
}

func TestWhatBelongsToNobodyIsSwept(t *testing.T) {
	w := newWorld(t)
	podID, id := w.mustRun(w.manager(), "web")
	stray := newID()
	for _, thing := range []string{"layer " + stray, "layer " + stray + "-image0", "network " + stray, "cgroup /berth/" + stray} {
		w.held[thing] = true
	}
	before := len(w.left())
	m := w.manager()
	if after := len(w.left()); after != before-4 {
		t.Errorf("%d things of %d left: %q", after, before, w.left())
	}
	w.mustState(m, id, ContainerRunning)
	if err := m.RemovePod(t.Context(), podID); err != nil {
		t.Fatal(err)
	}
	w.mustBeEmpty()
}

func FuzzDecodeRecords(f *testing.F) {
	id := strings.Repeat("ab", 32)
	f.Add([]byte(`{"version":1,"id":"` + id + `","state":"ready","config":{"name":"a"}}`))
	f.Add([]byte(`{"version":1,"id":"` + id + `","pod_id":"` + id + `","state":"running","config":{"name":"a"}}`))
	f.Add([]byte(`{"version":1`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if rec, err := decodePod(id, data); err == nil {
			if _, err := encodeRecord(rec); err != nil {
				t.Errorf("a record that was read can't be written: %v", err)
			}
		}
		if rec, err := decodeContainer(id, data); err == nil && (rec.ID != id || !validID(rec.PodID)) {
			t.Errorf("foreign record accepted: %+v", rec)
		}
	})
}

// What the network has for no pod goes while berthd runs too; a pod that is not detached yet is not the collection's business.
func TestTheNetworkIsSweptFromTimeToTime(t *testing.T) {
	w := newWorld(t)
	w.collect = time.Millisecond
	m := w.manager()
	podID, _ := w.mustRun(m, "web")
	stuckID, _ := w.mustRun(m, "stuck")
	w.setFail("take down network", errors.New("plugin is broken"))
	if err := m.StopPod(t.Context(), stuckID); err == nil {
		t.Fatal("stopped")
	}
	for range 3 {
		w.mu.Lock()
		w.held["network stray"] = true
		w.mu.Unlock()
		w.await(m, "the sweep", func() bool { return !slices.Contains(w.left(), "network stray") })
	}
	for _, id := range []string{podID, stuckID} {
		if !slices.Contains(w.left(), "network "+id) {
			t.Errorf("pod %s has lost its network", id)
		}
	}
	w.setFail("take down network", nil)
}

func TestCloseDoesNotWaitForWhatHangs(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	open := w.gate("set up network")
	done := make(chan error, 1)
	go func() { _, err := m.RunPod(context.Background(), podConfig("web")); done <- err }()
	w.await(m, "the hanging plugin", func() bool { return w.count("set up network") == 1 })
	if err := m.Close(); err != nil { // its gate is still shut
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := m.RunPod(t.Context(), podConfig("late")); !errors.Is(err, errdefs.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
	open()
	next := w.manager() // takes down what was left half done
	next.mu.Lock()
	var gone []*call
	for _, p := range next.pods {
		gone = append(gone, p.remove.running)
	}
	next.mu.Unlock()
	for _, c := range gone {
		if c != nil {
			<-c.done
		}
	}
	w.mustBeEmpty()
}

func TestAPauseProcessHalfMadeAtACrashIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	shared := containerConfig("shared")
	shared.Security.Namespaces.PID = spec.NamespacePod
	crashAt(t, w, "create", func(ctx context.Context, m *Manager) error {
		podID, err := m.RunPod(ctx, podConfig("web"))
		if err != nil {
			return err
		}
		_, err = m.CreateContainer(ctx, podID, shared)
		return err
	})
	next := crashCopy(t, w, snapshotState(t, w))
	m := next.manager()
	podID, err := m.RunPod(t.Context(), podConfig("web"))
	if err != nil {
		t.Fatal(err)
	}
	pauseGroup := "cgroup /berth/" + podID + "/" + podID + "-pause"
	next.mu.Lock()
	next.held[pauseGroup] = true // it was made, and nothing after it
	next.mu.Unlock()
	if _, err := m.CreateContainer(t.Context(), podID, shared); err != nil {
		t.Fatal(err)
	}
	if err := m.RemovePod(t.Context(), podID); err != nil {
		t.Fatal(err)
	}
	next.mustBeEmpty()
}
