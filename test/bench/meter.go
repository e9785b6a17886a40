package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/test/images"
	"github.com/berth-runtime/berth/test/node"
)

// meter measures one runtime through its socket.
type meter struct {
	client *node.Client
	dir    string
	options
	serial int
	mu     sync.Mutex // guards serial
}

const image = "registry.k8s.io/" + images.Busybox

// warmUp is how many pods come and go before anything is measured.
const warmUp = 3

// all takes every figure.
func (m *meter) all(ctx context.Context) (f Figures, err error) {
	if err := m.client.EnsureImage(ctx, image); err != nil {
		return f, err
	}
	for range warmUp {
		if _, err := m.life(ctx); err != nil {
			return f, err
		}
	}
	// First, while the runtime is fresh: what it has done before would be in its heap, and hide what these pods cost.
	if f.MemoryPerPod, err = m.memory(ctx); err != nil {
		return f, err
	}
	if err := m.latencies(ctx, &f); err != nil {
		return f, err
	}
	if f.PodsPerSecond, err = m.rate(ctx); err != nil {
		return f, err
	}
	if !m.noPull {
		f.PullSeconds, err = m.pull(ctx)
	}
	return f, err
}

// pod is a running pod with one container that sleeps.
type pod struct {
	*node.Pod
	container *node.Container
}

// up runs a pod and a container in it, the way a kubelet does.
func (m *meter) up(ctx context.Context) (pod, error) {
	m.mu.Lock()
	m.serial++
	name := fmt.Sprintf("bench-%d", m.serial)
	m.mu.Unlock()
	cfg := node.PodConfig(name, filepath.Join(m.dir, "pod-logs"))
	if err := os.MkdirAll(cfg.GetLogDirectory(), 0o755); err != nil {
		return pod{}, err
	}
	p, err := m.client.RunPod(ctx, cfg)
	if err != nil {
		return pod{}, fmt.Errorf("run pod: %w", err)
	}
	r, err := m.client.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: p.ID, Config: node.ContainerConfig("c", image, "sleep", "100000"), SandboxConfig: cfg,
	})
	if err != nil {
		return pod{}, fmt.Errorf("create container: %w", err)
	}
	c := m.client.Container(r.GetContainerId())
	if err := c.Start(ctx); err != nil {
		return pod{}, fmt.Errorf("start container: %w", err)
	}
	return pod{p, c}, nil
}

// down stops the container by force and removes everything.
func (m *meter) down(ctx context.Context, p pod) error {
	if err := p.container.Stop(ctx, 0); err != nil {
		return fmt.Errorf("stop container: %w", err)
	}
	if err := p.Remove(ctx); err != nil {
		return fmt.Errorf("remove pod: %w", err)
	}
	return nil
}

// times are the durations of one pod's life.
type times struct{ up, exec, down time.Duration }

func (m *meter) life(ctx context.Context) (t times, err error) {
	began := time.Now()
	p, err := m.up(ctx)
	if err != nil {
		return t, err
	}
	t.up, began = time.Since(began), time.Now()
	if _, err := p.container.Exec(ctx, "true"); err != nil {
		return t, err
	}
	t.exec, began = time.Since(began), time.Now()
	if err := m.down(ctx, p); err != nil {
		return t, err
	}
	t.down = time.Since(began)
	return t, nil
}

func (m *meter) latencies(ctx context.Context, f *Figures) error {
	var up, exec, down []time.Duration
	for range m.runs {
		t, err := m.life(ctx)
		if err != nil {
			return err
		}
		up, exec, down = append(up, t.up), append(exec, t.exec), append(down, t.down)
	}
	f.PodUp, f.Exec, f.PodDown = percentiles(up), percentiles(exec), percentiles(down)
	return nil
}

// atOnce is how many pods come up at the same time.
const atOnce = 10

// rate brings pods up, ten at once, and returns how many came up per second.
func (m *meter) rate(ctx context.Context) (float64, error) {
	pods := make([]pod, m.pods)
	errs := make([]error, m.pods)
	began := time.Now()
	m.each(func(i int) { pods[i], errs[i] = m.up(ctx) })
	took := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	m.each(func(i int) { errs[i] = m.down(ctx, pods[i]) })
	return float64(m.pods) / took.Seconds(), errors.Join(errs...)
}

// each calls do for every pod's number, ten at once.
func (m *meter) each(do func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range m.pods {
		next <- i
	}
	close(next)
	wg.Wait()
}

// memory returns the bytes that one idle pod costs beside its own processes.
func (m *meter) memory(ctx context.Context) (int64, error) {
	before, err := settledMemory(ctx)
	if err != nil {
		return 0, err
	}
	pods := make([]pod, m.pods)
	for i := range pods {
		if pods[i], err = m.up(ctx); err != nil {
			return 0, err
		}
	}
	after, err := settledMemory(ctx)
	if err != nil {
		return 0, err
	}
	for _, p := range pods {
		if err := m.down(ctx, p); err != nil {
			return 0, err
		}
	}
	return (after - before) / int64(m.pods), nil
}

// pull returns the seconds that a pull of the large image takes.
func (m *meter) pull(ctx context.Context) (float64, error) {
	began := time.Now()
	if _, err := m.client.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: largeRef}}); err != nil {
		return 0, err
	}
	took := time.Since(began).Seconds()
	_, err := m.client.RemoveImage(ctx, &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: largeRef}})
	return took, err
}
