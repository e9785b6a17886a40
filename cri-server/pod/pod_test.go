package pod

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestAPodLivesAndLeavesNothing(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	podID, id := w.mustRun(m, "web")
	p, err := m.Pod(t.Context(), podID)
	if err != nil || !p.Ready() || len(p.IPs) != 1 || p.Netns == "" {
		t.Fatalf("pod %+v, %v", p, err)
	}
	s := w.mustState(m, id[:12], ContainerRunning)
	if s.StartedAt.IsZero() || s.StopSignal != 10 || s.LogPath != filepath.Join(os.TempDir(), "main.log") || s.ImageID == "" {
		t.Fatalf("container %+v", s)
	}
	if err := m.StopPod(t.Context(), podID); err != nil {
		t.Fatal(err)
	}
	if s := w.mustState(m, id, ContainerExited); s.ExitCode != 137 || s.FinishedAt.IsZero() {
		t.Fatalf("container %+v", s)
	}
	if _, err := m.CreateContainer(t.Context(), podID, containerConfig("late")); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Fatalf("container made in a stopped pod: %v", err)
	}
	for range 2 { // idempotent, also for IDs that don't exist
		if err := errors.Join(m.StopPod(t.Context(), podID), m.RemovePod(t.Context(), podID), m.RemoveContainer(t.Context(), id)); err != nil {
			t.Fatal(err)
		}
	}
	w.mustBeEmpty()
}

func TestAPodStartWritesItsRecordTwice(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	before := w.gate("set up network")
	done := make(chan error, 1)
	go func() { _, err := m.RunPod(context.Background(), podConfig("web")); done <- err }()
	w.await(m, "network", func() bool { return w.count("set up network") == 1 })
	ids, err := m.store.list(podKind())
	if err != nil || len(ids) != 1 {
		t.Fatalf("no record before the first effect: %v, %v", ids, err)
	}
	data, err := m.store.load(podKind(), ids[0])
	if err != nil || !strings.Contains(string(data), `"state":"creating"`) {
		t.Fatalf("record %s, %v", data, err)
	}
	before()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if data, err = m.store.load(podKind(), ids[0]); err != nil || !strings.Contains(string(data), `"state":"ready"`) {
		t.Fatalf("record %s, %v", data, err)
	}
}

func TestARetryJoinsTheRunningAttempt(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	open := w.gate("set up network")
	defer open()
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := m.RunPod(ctx, podConfig("web")); first <- err }()
	w.await(m, "the first attempt", func() bool { return w.count("set up network") == 1 })
	cancel() // the kubelet's deadline
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("first attempt: %v", err)
	}
	if got := m.Pods(t.Context(), PodFilter{}); len(got) != 0 {
		t.Fatalf("a pod in the making is listed: %+v", got)
	}
	type answer struct {
		id  string
		err error
	}
	retries := make(chan answer, 3)
	for range 3 {
		go func() {
			id, err := m.RunPod(context.Background(), podConfig("web"))
			retries <- answer{id, err}
		}()
	}
	open()
	ids := map[string]bool{}
	for range 3 {
		a := <-retries
		if a.err != nil {
			t.Fatal(a.err)
		}
		ids[a.id] = true
	}
	if len(ids) != 1 || w.count("set up network") != 1 {
		t.Fatalf("%d pods made by %d attempts", len(ids), w.count("set up network"))
	}
}

func TestTheNameOfAPodIsItsOwn(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	id, err := m.RunPod(t.Context(), podConfig("web"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := m.RunPod(t.Context(), podConfig("web")); err != nil || again != id {
		t.Fatalf("same request: %s, %v, want %s", again, err, id)
	}
	other := podConfig("web")
	other.Labels = map[string]string{"a": "b"}
	if _, err := m.RunPod(t.Context(), other); !errors.Is(err, errdefs.ErrExists) || !strings.Contains(err.Error(), id) {
		t.Fatalf("other request of the same name: %v", err)
	}
	if err := m.StopPod(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := m.RunPod(t.Context(), podConfig("web")); !errors.Is(err, errdefs.ErrExists) || !strings.Contains(err.Error(), id) {
		t.Fatalf("the name of a stopped pod: %v", err)
	}
	if err := m.RemovePod(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if again, err := m.RunPod(t.Context(), podConfig("web")); err != nil || again == id {
		t.Fatalf("the name of a removed pod: %s, %v", again, err)
	}
}

func TestAPodThatCannotBeMadeLeavesNothing(t *testing.T) {
	for _, step := range []string{"make namespaces", "set up network", "make cgroup", "mount shm"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			m := w.manager()
			cause := errors.New("broken " + step)
			w.setFail(step, cause)
			if _, err := m.RunPod(t.Context(), podConfig("web")); !errors.Is(err, cause) {
				t.Fatalf("got %v", err)
			}
			w.mustBeEmpty()
			w.setFail(step, nil)
			if _, err := m.RunPod(t.Context(), podConfig("web")); err != nil {
				t.Fatalf("the name is not free: %v", err)
			}
		})
	}
}

func TestFiltersAndPrefixes(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	var ids []string
	for _, name := range []string{"a", "b"} {
		cfg := podConfig(name)
		cfg.Labels = map[string]string{"app": name, "tier": "x"}
		id, err := m.RunPod(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := m.StopPod(t.Context(), ids[1]); err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	for _, tt := range []struct {
		name   string
		filter PodFilter
		want   []string
	}{
		{"all, oldest first", PodFilter{}, ids},
		{"by prefix", PodFilter{ID: ids[0][:20]}, ids[:1]},
		{"ready", PodFilter{Ready: &yes}, ids[:1]},
		{"not ready", PodFilter{Ready: &no}, ids[1:]},
		{"labels are ANDed", PodFilter{Labels: map[string]string{"app": "b", "tier": "x"}}, ids[1:]},
		{"no such label", PodFilter{Labels: map[string]string{"app": "c"}}, nil},
	} {
		var got []string
		for _, p := range m.Pods(t.Context(), tt.filter) {
			got = append(got, p.ID)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
	for id, want := range map[string]error{"": errdefs.ErrInvalid, "zzz": errdefs.ErrNotFound, ids[0][:8]: nil} {
		if _, err := m.Pod(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("pod %q: %v, want %v", id, err, want)
		}
	}
}

func TestAnAmbiguousPrefixIsRefused(t *testing.T) {
	all := map[string]int{"abc1": 1, "abc2": 2, "abc": 3}
	if _, err := find(all, "pod", "ab"); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if got, err := find(all, "pod", "abc"); err != nil || got != 3 { // a whole ID is not ambiguous
		t.Errorf("got %d, %v", got, err)
	}
}

func TestFilesOfAPod(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	cfg := podConfig("web")
	cfg.Hostname = "web-0"
	cfg.DNS = &spec.DNS{Servers: []string{"10.0.0.10"}, Searches: []string{"default.svc"}, Options: []string{"ndots:5"}}
	id, err := m.RunPod(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		hostnameFile: "web-0\n",
		resolvFile:   "search default.svc\nnameserver 10.0.0.10\noptions ndots:5\n",
	} {
		if got, err := os.ReadFile(m.podFile(id, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	hosts, err := os.ReadFile(m.podFile(id, hostsFile))
	if err != nil || !strings.Contains(string(hosts), "10.1.2.3\tweb-0\n") || !strings.Contains(string(hosts), "127.0.0.1\tlocalhost\n") {
		t.Errorf("hosts: %q, %v", hosts, err)
	}
}

func TestAnUnknownHandlerIsRefused(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	cfg := podConfig("web")
	cfg.Handler = "gvisor"
	if _, err := m.RunPod(t.Context(), cfg); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "gvisor") {
		t.Fatalf("got %v", err)
	}
	w.mustBeEmpty()
}

func TestEventsTellWhatHappened(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	sub := m.Subscribe()
	defer sub.Close()
	podID, id := w.mustRun(m, "web")
	if err := errors.Join(m.StopPod(t.Context(), podID), m.RemovePod(t.Context(), podID)); err != nil {
		t.Fatal(err)
	}
	type seen struct {
		Type EventType
		ID   string
	}
	want := []seen{
		{EventCreated, podID},
		{EventStarted, podID},
		{EventCreated, id},
		{EventStarted, id},
		{EventStopped, id},
		{EventStopped, podID},
		{EventDeleted, id},
		{EventDeleted, podID},
	}
	var got []seen
	for range want {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		e, err := sub.Next(ctx)
		cancel()
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		got = append(got, seen{e.Type, e.ID})
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
