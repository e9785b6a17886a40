package autoremove_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/cri-server/autoremove"
	"github.com/berth-runtime/berth/cri-server/events"
	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

type fake struct {
	bus     *events.Bus[pod.Event]
	did     chan string
	listens chan struct{}
	hangs   string // the pod whose removal hangs
	mu      sync.Mutex
	pods    map[string][]pod.ContainerStatus
	configs map[string]spec.PodConfig
}

func (f *fake) Subscribe() *events.Subscription[pod.Event] {
	defer close(f.listens)
	return f.bus.Subscribe()
}

func (f *fake) Pods(context.Context, pod.PodFilter) (list []pod.PodStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.configs {
		list = append(list, f.status(id))
	}
	return list
}

func (f *fake) status(id string) pod.PodStatus {
	return pod.PodStatus{ID: id, Config: f.configs[id], State: pod.PodReady}
}

func (f *fake) PodSnapshot(_ context.Context, id string) (pod.PodStatus, []pod.ContainerStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.configs[id]; !ok {
		return pod.PodStatus{}, nil, errdefs.NotFound("pod %s", id)
	}
	return f.status(id), f.pods[id], nil
}

func (f *fake) StopPod(_ context.Context, id string) error { f.did <- "stop " + id; return nil }

func (f *fake) RemovePod(ctx context.Context, id string) error {
	if id == f.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	f.did <- "remove " + id
	return nil
}

func (f *fake) ReopenLog(_ context.Context, id string) error {
	for _, containers := range f.pods {
		for _, c := range containers {
			if c.ID == id {
				if err := os.WriteFile(c.LogPath, nil, 0o600); err != nil {
					return err
				}
			}
		}
	}
	f.did <- "reopen " + id
	return nil
}

// end tells that the containers of a pod have ended.
func (f *fake) end(id string) {
	f.bus.Publish(pod.Event{Type: pod.EventStopped, Pod: f.status(id), Containers: []pod.ContainerStatus{{State: pod.ContainerExited}}})
}

func expect(t *testing.T, f *fake, want string) {
	t.Helper()
	select {
	case got := <-f.did:
		if got != want {
			t.Fatalf("%s, not %s", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s", want)
	}
}

// run runs the package on a fake until the test ends.
func run(t *testing.T, f *fake, logs string) {
	t.Helper()
	f.bus, f.did, f.listens = events.New[pod.Event](8), make(chan string), make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- autoremove.Run(t.Context(), f, logs, slog.New(slog.DiscardHandler)) }()
	<-f.listens // what is published from now on is heard
	t.Cleanup(func() {
		f.bus.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

var wish = map[string]string{autoremove.Annotation: "true"}

func TestRun(t *testing.T) {
	logs := t.TempDir()
	exited, running := pod.ContainerStatus{State: pod.ContainerExited}, pod.ContainerStatus{State: pod.ContainerRunning}
	f := &fake{
		hangs: "hangs",
		configs: map[string]spec.PodConfig{
			"ended before": {Annotations: wish, LogDirectory: filepath.Join(logs, "1")},
			"stays":        {LogDirectory: filepath.Join(logs, "2")},
			"runs":         {Annotations: wish, LogDirectory: filepath.Join(logs, "3")},
			"hangs":        {Annotations: wish, LogDirectory: filepath.Join(logs, "4")},
			"empty":        {Annotations: wish, LogDirectory: filepath.Join(logs, "5")},
			"kubelet's":    {Annotations: wish, LogDirectory: "/var/log/pods/ns_name_uid"},
			"deeper":       {Annotations: wish, LogDirectory: filepath.Join(logs, "6", "x")},
			"no logs":      {Annotations: wish},
		},
		pods: map[string][]pod.ContainerStatus{
			"ended before": {exited}, "stays": {running}, "runs": {exited, running}, "hangs": {running},
			"kubelet's": {exited}, "deeper": {exited}, "no logs": {exited},
		},
	}
	run(t, f, logs)
	expect(t, f, "remove ended before")
	f.end("hangs") // holds up nobody
	f.end("kubelet's")
	f.end("stays")
	expect(t, f, "stop stays")
	f.bus.Publish(pod.Event{Type: pod.EventStopped, Pod: f.status("runs"), Containers: f.pods["runs"]})
	f.end("runs")
	expect(t, f, "remove runs")
}

// TestLogsGoWithTheirPods wants log folders to go when the pod has, whoever removed it, and no others.
func TestLogsGoWithTheirPods(t *testing.T) {
	logs, others := t.TempDir(), t.TempDir()
	f := &fake{configs: map[string]spec.PodConfig{"last": {LogDirectory: filepath.Join(logs, "last")}}}
	run(t, f, logs)
	mine, other := filepath.Join(logs, "mine"), filepath.Join(others, "other")
	for _, dir := range []string{mine, other} {
		testutil.Must(t, os.Mkdir(dir, 0o700))
		p := pod.PodStatus{ID: dir, Config: spec.PodConfig{Annotations: wish, LogDirectory: dir}}
		f.bus.Publish(pod.Event{Type: pod.EventDeleted, ID: dir, Pod: p})
	}
	f.end("last")
	expect(t, f, "stop last") // by now the events before it have been handled
	if _, err := os.Stat(mine); !os.IsNotExist(err) {
		t.Errorf("the log folder stayed: %v", err)
	}
	testutil.Must(t, func() error { _, err := os.Stat(other); return err }())
}

// TestClientIsWaitedFor wants a pod to stay until its client is gone, however that goes.
func TestClientIsWaitedFor(t *testing.T) {
	logs := t.TempDir()
	f := &fake{configs: map[string]spec.PodConfig{
		"held":  {Annotations: wish, LogDirectory: filepath.Join(logs, "held")},
		"other": {LogDirectory: filepath.Join(logs, "other")},
	}}
	fifo := filepath.Join(logs, "held", autoremove.HoldName)
	testutil.Must(t, os.Mkdir(filepath.Dir(fifo), 0o700))
	testutil.Must(t, syscall.Mkfifo(fifo, 0o600))
	client, err := os.OpenFile(fifo, os.O_RDWR, 0)
	testutil.Must(t, err)
	run(t, f, logs)
	f.end("held")
	f.end("other")
	expect(t, f, "stop other")
	testutil.Must(t, client.Close())
	expect(t, f, "remove held")
}

// TestLogsStaySmall wants a log that has grown to be set aside.
func TestLogsStaySmall(t *testing.T) {
	logs := t.TempDir()
	dir := filepath.Join(logs, "p")
	testutil.Must(t, os.Mkdir(dir, 0o700))
	big, small := filepath.Join(dir, "big"), filepath.Join(dir, "small")
	for path, size := range map[string]int64{big: 20 << 20, small: 1 << 20} {
		testutil.Must(t, os.WriteFile(path, nil, 0o600))
		testutil.Must(t, os.Truncate(path, size))
	}
	f := &fake{
		configs: map[string]spec.PodConfig{"p": {LogDirectory: dir}},
		pods: map[string][]pod.ContainerStatus{"p": {
			{ID: "small", State: pod.ContainerRunning, LogPath: small}, {ID: "big", State: pod.ContainerRunning, LogPath: big},
		}},
	}
	run(t, f, logs)
	expect(t, f, "reopen big")
	for path, want := range map[string]int64{big: 0, big + autoremove.OldSuffix: 20 << 20, small: 1 << 20} {
		info, err := os.Stat(path)
		testutil.Must(t, err)
		if info.Size() != want {
			t.Errorf("%s has %d bytes, want %d", path, info.Size(), want)
		}
	}
}
