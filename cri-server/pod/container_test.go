package pod

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

func TestHowAContainerEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		exit   client.Exit
		oom    bool
		code   int32
		reason string
	}{
		{"well", client.Exit{Known: true}, false, 0, "Completed"},
		{"with a code", client.Exit{Known: true, Code: 3}, false, 3, "Error"},
		{"by a signal", client.Exit{Known: true, Code: 143, Signal: 15}, false, 143, "Error"},
		{"killed for memory", client.Exit{Known: true, Code: 137, Signal: 9}, true, 137, "OOMKilled"},
		{"killed, but not for memory", client.Exit{Known: true, Code: 137, Signal: 9}, false, 137, "Error"},
		{"well, after a child was killed for memory", client.Exit{Known: true}, true, 0, "Completed"},
		{"a shell whose child was killed for memory", client.Exit{Known: true, Code: 137}, true, 137, "OOMKilled"},
		{"unseen", client.Exit{Reason: "nobody saw it"}, false, 255, "Unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.manager()
			_, id := w.mustRun(m, "web")
			w.mu.Lock()
			w.held["oom "+id] = tt.oom
			w.mu.Unlock()
			tt.exit.At = time.Now()
			w.end(id, tt.exit)
			w.await(m, "the end", func() bool { s, err := m.Container(t.Context(), id); return err == nil && s.State == ContainerExited })
			s := w.mustState(m, id, ContainerExited)
			if s.ExitCode != tt.code || s.Reason != tt.reason || !s.FinishedAt.Equal(tt.exit.At) {
				t.Errorf("got %d %s (%s) at %v", s.ExitCode, s.Reason, s.Message, s.FinishedAt)
			}
		})
	}
}

func TestAStopGivesGraceAndThenKills(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, polite := w.mustRun(m, "web")
	if err := m.StopContainer(t.Context(), polite, time.Hour); err != nil {
		t.Fatal(err)
	}
	if s := w.mustState(m, polite, ContainerExited); s.ExitCode != 0 || w.count("kill") != 0 {
		t.Errorf("exit code %d, %d kills", s.ExitCode, w.count("kill"))
	}
	if d := cmp.Diff([]syscall.Signal{syscall.SIGUSR1}, w.signals[polite]); d != "" { // the image's stop signal
		t.Error(d)
	}
	stubborn := w.mustStart(m, podID, "stubborn")
	w.ignoring[stubborn] = true
	if err := m.StopContainer(t.Context(), stubborn, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if s := w.mustState(m, stubborn, ContainerExited); s.ExitCode != 137 {
		t.Errorf("exit code %d", s.ExitCode)
	}
	hasty := w.mustStart(m, podID, "hasty")
	if err := m.StopContainer(t.Context(), hasty, 0); err != nil {
		t.Fatal(err)
	}
	if s := w.mustState(m, hasty, ContainerExited); s.ExitCode != 137 || len(w.signals[hasty]) != 0 {
		t.Errorf("without grace: exit code %d, signals %v", s.ExitCode, w.signals[hasty])
	}
	if err := errors.Join(m.StopContainer(t.Context(), hasty, 0), m.StopContainer(t.Context(), "0123", 0)); err != nil {
		t.Errorf("stops of what does not run: %v", err)
	}
}

// mustStart makes and starts one more container.
func (w *world) mustStart(m *Manager, podID, name string) string {
	w.t.Helper()
	id, err := m.CreateContainer(w.t.Context(), podID, containerConfig(name))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := m.StartContainer(w.t.Context(), id); err != nil {
		w.t.Fatal(err)
	}
	return id
}

func TestASecondStopShortensTheFirst(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	_, id := w.mustRun(m, "web")
	w.ignoring[id] = true
	first := make(chan error, 1)
	go func() { first <- m.StopContainer(context.Background(), id, time.Hour) }()
	w.await(m, "the signal", func() bool { return w.count("signal") == 1 })
	if s := w.mustState(m, id, ContainerRunning); s.ExitCode != 0 { // status does not wait for the stop
		t.Fatalf("%+v", s)
	}
	if err := m.ReopenLog(t.Context(), id); err != nil { // nor does log rotation
		t.Fatal(err)
	}
	if err := m.StopContainer(t.Context(), id, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if n := w.count("signal"); n != 1 {
		t.Errorf("signalled %d times", n)
	}
}

func TestAStopGoesOnWithoutItsCaller(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	_, id := w.mustRun(m, "web")
	w.ignoring[id] = true
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.StopContainer(ctx, id, 50*time.Millisecond); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	w.await(m, "the kill", func() bool { s, err := m.Container(t.Context(), id); return err == nil && s.State == ContainerExited })
}

func TestAFailedStartEndsTheContainer(t *testing.T) {
	for _, tt := range []struct {
		cause error
		code  int32
	}{{syscall.ENOENT, 127}, {syscall.EACCES, 126}, {syscall.ENOEXEC, 126}, {syscall.ENOMEM, 128}} {
		t.Run(tt.cause.Error(), func(t *testing.T) {
			w := newWorld(t)
			m := w.manager()
			podID, err := m.RunPod(t.Context(), podConfig("web"))
			if err != nil {
				t.Fatal(err)
			}
			id, err := m.CreateContainer(t.Context(), podID, containerConfig("main"))
			if err != nil {
				t.Fatal(err)
			}
			w.setFail("start", fmt.Errorf("execve /nope: %w", tt.cause))
			if err := m.StartContainer(t.Context(), id); !errors.Is(err, tt.cause) {
				t.Fatalf("got %v", err)
			}
			s := w.mustState(m, id, ContainerExited)
			if s.ExitCode != tt.code || s.Reason != "ContainerStartError" || !strings.Contains(s.Message, "/nope") || s.FinishedAt.IsZero() {
				t.Errorf("got %+v", s)
			}
			if err := m.StartContainer(t.Context(), id); !errors.Is(err, errdefs.ErrFailedPrecondition) {
				t.Errorf("started again: %v", err)
			}
			if err := m.RemovePod(t.Context(), podID); err != nil {
				t.Fatal(err)
			}
			w.mustBeEmpty()
		})
	}
}

func TestAnEndBeforeTheAnswerToTheStartIsNotLost(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, err := m.RunPod(t.Context(), podConfig("web"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := m.CreateContainer(t.Context(), podID, containerConfig("main"))
	if err != nil {
		t.Fatal(err)
	}
	open := w.gate("start")
	done := make(chan error, 1)
	go func() { done <- m.StartContainer(context.Background(), id) }()
	w.await(m, "the start", func() bool { return w.count("start") == 1 })
	w.mu.Lock()
	w.held["process "+id] = true
	w.mu.Unlock()
	w.end(id, client.Exit{Known: true, Code: 5, At: time.Now()})
	w.await(m, "the report", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.containers[id].early != nil
	})
	open()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := w.mustState(m, id, ContainerExited); s.ExitCode != 5 || s.StartedAt.IsZero() {
		t.Errorf("got %+v", s)
	}
}

func TestAContainerThatCannotBeMadeLeavesNothing(t *testing.T) {
	for _, step := range []string{"resolve", "prepare layer", "mount root", "create"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			m := w.manager()
			podID, err := m.RunPod(t.Context(), podConfig("web"))
			if err != nil {
				t.Fatal(err)
			}
			cause := errors.New("broken " + step)
			w.setFail(step, cause)
			if _, err := m.CreateContainer(t.Context(), podID, containerConfig("main")); !errors.Is(err, cause) {
				t.Fatalf("got %v", err)
			}
			if got := m.Containers(t.Context(), ContainerFilter{}); len(got) != 0 {
				t.Errorf("listed: %+v", got)
			}
			w.setFail(step, nil)
			if _, err := m.CreateContainer(t.Context(), podID, containerConfig("main")); err != nil {
				t.Fatalf("the name is not free: %v", err)
			}
			if err := m.RemovePod(t.Context(), podID); err != nil {
				t.Fatal(err)
			}
			w.mustBeEmpty()
		})
	}
}

func TestCreateContainerJoinsAndRefuses(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, err := m.RunPod(t.Context(), podConfig("web"))
	if err != nil {
		t.Fatal(err)
	}
	open := w.gate("create")
	ids := make(chan string, 2)
	for range 2 {
		go func() {
			id, err := m.CreateContainer(context.Background(), podID, containerConfig("main"))
			ids <- fmt.Sprint(id, err)
		}()
	}
	w.await(m, "create", func() bool { return w.count("create") == 1 })
	open()
	if a, b := <-ids, <-ids; a != b || w.count("create") != 1 {
		t.Fatalf("%s and %s by %d creates", a, b, w.count("create"))
	}
	other := containerConfig("main")
	other.Args = []string{"x"}
	if _, err := m.CreateContainer(t.Context(), podID, other); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("other configuration: %v", err)
	}
	missing := containerConfig("b")
	missing.Image = "missing:1"
	if _, err := m.CreateContainer(t.Context(), podID, missing); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("missing image: %v", err)
	}
	user := containerConfig("c")
	user.Security.RunAsUsername = "nobody-knows"
	if _, err := m.CreateContainer(t.Context(), podID, user); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("unknown user: %v", err)
	}
	if _, err := m.CreateContainer(t.Context(), "0123", containerConfig("d")); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("unknown pod: %v", err)
	}
}

func TestRemovingARunningContainerKillsIt(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, id := w.mustRun(m, "web")
	if err := m.RemoveContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Container(t.Context(), id); !errors.Is(err, errdefs.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	if err := m.RemovePod(t.Context(), podID); err != nil {
		t.Fatal(err)
	}
	w.mustBeEmpty()
}

func TestUpdatesAreAllOrNothing(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, id := w.mustRun(m, "web")
	if err := m.UpdateResources(t.Context(), id, &spec.Resources{CPUShares: 5, Memory: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	w.setFail("update", errdefs.Invalid("the kernel says no"))
	if err := m.UpdateResources(t.Context(), id, &spec.Resources{CPUShares: 6}); err == nil {
		t.Fatal("updated")
	}
	want := &spec.Resources{CPUShares: 5, Memory: 1 << 30}
	if d := cmp.Diff(want, w.mustState(m, id, ContainerRunning).Config.Resources); d != "" {
		t.Error(d)
	}
	if err := m.UpdatePodResources(t.Context(), podID, &spec.Resources{Memory: 7}, &spec.Resources{CPUQuota: 9}); err != nil {
		t.Fatal(err)
	}
	again := w.manager() // what was updated survives a restart
	p, err := again.Pod(t.Context(), podID)
	if err != nil || p.Config.Overhead.Memory != 7 || p.Config.Resources.CPUQuota != 9 {
		t.Errorf("pod %+v, %v", p.Config, err)
	}
	if d := cmp.Diff(want, w.mustState(again, id, ContainerRunning).Config.Resources); d != "" {
		t.Error(d)
	}
}

func TestAPodWithSharedPIDsHasAPauseProcess(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, err := m.RunPod(t.Context(), podConfig("web"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		cfg := containerConfig(fmt.Sprint("c", i))
		cfg.Security.Namespaces.PID = spec.NamespacePod
		if _, err := m.CreateContainer(t.Context(), podID, cfg); err != nil {
			t.Fatal(err)
		}
	}
	p, err := m.Pod(t.Context(), podID)
	if err != nil || p.PausePID == 0 || w.count("start") != 1 {
		t.Fatalf("pod %+v, %v; %d starts", p, err, w.count("start"))
	}
	w.end(podID, client.Exit{Known: true, Code: 137, Signal: 9, At: time.Now()})
	w.await(m, "the stop of the pod", func() bool { p, err := m.Pod(t.Context(), podID); return err == nil && p.State == PodStopped })
	if err := m.RemovePod(t.Context(), podID); err != nil {
		t.Fatal(err)
	}
	w.mustBeEmpty()
}

func TestAPauseProcessThatCouldNotBeStartedIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, err := m.RunPod(t.Context(), podConfig("web"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := containerConfig("main")
	cfg.Security.Namespaces.PID = spec.NamespacePod
	cause := errors.New("no process for you")
	w.setFail("start", cause)
	if _, err := m.CreateContainer(t.Context(), podID, cfg); !errors.Is(err, cause) {
		t.Fatalf("got %v", err)
	}
	w.setFail("start", nil)
	if _, err := m.CreateContainer(t.Context(), podID, cfg); err != nil {
		t.Fatal(err)
	}
	if err := m.RemovePod(t.Context(), podID); err != nil {
		t.Fatal(err)
	}
	w.mustBeEmpty()
}

func TestStats(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, id := w.mustRun(m, "web")
	s, err := m.ContainerStats(t.Context(), id)
	if err != nil || s.Stats.CPU.Usage != 7 || s.Stats.Filesystem == nil || s.Stats.Filesystem.Inodes != 2 {
		t.Fatalf("got %+v, %v", s, err)
	}
	p, err := m.PodStats(t.Context(), podID)
	if err != nil || len(p.Containers) != 1 || len(p.Stats.Interfaces) != 1 || p.Stats.Interfaces[0].RxBytes != 5 {
		t.Fatalf("got %+v, %v", p, err)
	}
}
