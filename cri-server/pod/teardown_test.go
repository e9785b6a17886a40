package pod

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestTeardownIsRepeatedUntilItIsDone(t *testing.T) {
	for _, step := range []string{"take down network", "remove namespaces", "unmount shm", "remove cgroup", "delete", "discard layer"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			m := w.manager()
			podID, _ := w.mustRun(m, "web")
			cause := errors.New("broken " + step)
			w.setFail(step, cause)
			if err := m.RemovePod(t.Context(), podID); !errors.Is(err, cause) {
				t.Fatalf("got %v", err)
			}
			if p, err := m.Pod(t.Context(), podID); err != nil || p.Ready() {
				t.Fatalf("the pod is forgotten or ready: %+v, %v", p, err)
			}
			if _, err := m.RunPod(t.Context(), podConfig("web")); !errors.Is(err, errdefs.ErrExists) && !errors.Is(err, errdefs.ErrUnavailable) {
				t.Fatalf("the name is free: %v", err)
			}
			if n := m.timers(); n > 1 {
				t.Errorf("%d timers repeat it", n)
			}
			if err := m.StopPod(t.Context(), podID); step == "take down network" && !errors.Is(err, cause) {
				t.Errorf("a stop meanwhile: %v", err)
			}
			if n := m.timers(); n > 1 {
				t.Errorf("%d timers repeat it after a stop meanwhile", n)
			}
			w.setFail(step, nil) // nobody asks again: the first repetition is due after a second
			w.await(m, "the removal", func() bool {
				_, err := m.Pod(t.Context(), podID)
				return errors.Is(err, errdefs.ErrNotFound)
			})
			w.mustBeEmpty()
		})
	}
}

// timers counts those that are to repeat something.
func (m *Manager) timers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var jobs []*job
	for _, p := range m.pods {
		jobs = append(jobs, &p.stop, &p.remove)
	}
	for _, c := range m.containers {
		jobs = append(jobs, &c.remove)
	}
	n := 0
	for _, j := range jobs {
		if j.retry != nil {
			n++
		}
	}
	return n
}

func TestAStopIsRepeatedUntilItIsDone(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, _ := w.mustRun(m, "web")
	w.setFail("take down network", errors.New("plugin is broken"))
	if err := m.StopPod(t.Context(), podID); err == nil {
		t.Fatal("stopped")
	}
	w.setFail("take down network", nil)
	w.await(m, "the stop", func() bool {
		p, err := m.Pod(t.Context(), podID)
		return err == nil && p.State == PodStopped && p.Reason == ""
	})
}

func TestNoStepOfATeardownIsSkippedForAnother(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, _ := w.mustRun(m, "web")
	w.setFail("take down network", errors.New("plugin is broken"))
	w.setFail("kill", errors.New("process hangs"))
	if err := m.StopPod(t.Context(), podID); err == nil {
		t.Fatal("stopped")
	}
	for _, step := range []string{"take down network", "remove namespaces", "unmount shm"} {
		if w.count(step) == 0 {
			t.Errorf("%s was skipped", step)
		}
	}
	p, err := m.Pod(t.Context(), podID)
	if err != nil || !strings.Contains(p.Reason, "plugin is broken") || !strings.Contains(p.Reason, "process hangs") {
		t.Errorf("the pod does not say why: %+v, %v", p, err)
	}
	w.setFail("take down network", nil)
	w.setFail("kill", nil)
	if err := m.StopPod(t.Context(), podID); err != nil {
		t.Fatal(err)
	}
}

func TestAFailedPodWhoseRemovalFailsIsRemovedByItsRetry(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	w.setFail("set up network", errors.New("no addresses"))
	w.setFail("remove namespaces", errors.New("busy"))
	_, err := m.RunPod(t.Context(), podConfig("web"))
	if err == nil || !strings.Contains(err.Error(), "no addresses") || !strings.Contains(err.Error(), "busy") {
		t.Fatalf("got %v", err)
	}
	if n := m.timers(); n > 1 {
		t.Errorf("%d timers repeat it", n)
	}
	if _, err := m.RunPod(t.Context(), podConfig("web")); !errors.Is(err, errdefs.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	w.setFail("set up network", nil)
	w.setFail("remove namespaces", nil)
	if _, err := m.RunPod(t.Context(), podConfig("web")); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Pods(t.Context(), PodFilter{})); n != 1 {
		t.Fatalf("%d pods", n)
	}
}
