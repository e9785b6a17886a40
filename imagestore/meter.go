package imagestore

import (
	"fmt"
	"sync"
	"time"
)

const progressEvery = 200 * time.Millisecond

// meter tells a pull's progress to whoever asked for it.
type meter struct {
	report func(Progress)
	stop   chan struct{}
	wg     sync.WaitGroup

	mu    sync.Mutex
	stage string
	total int64
	jobs  map[*job]int64 // sizes of the layers being fetched
	done  int64          // of those that are over, or were here already
}

// newMeter starts telling. A nil report costs nothing.
func newMeter(report func(Progress)) *meter {
	m := &meter{report: report, stop: make(chan struct{}), jobs: map[*job]int64{}, stage: "resolve"}
	if report == nil {
		return m
	}
	m.wg.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				report(m.now())
			case <-m.stop:
				report(m.now())
				return
			}
		}
	})
	return m
}

// close makes the last report and returns after it.
func (m *meter) close() {
	close(m.stop)
	m.wg.Wait()
}

func (m *meter) now() Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := Progress{Stage: m.stage, Done: m.done, Total: m.total}
	for j, size := range m.jobs {
		p.Done += min(j.bytes.Load(), size)
	}
	return p
}

func (m *meter) enter(stage string, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stage, m.total = stage, total
}

// watch counts a job's bytes until over is called.
func (m *meter) watch(j *job, size int64) (over func(complete bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.jobs[j] += size
	return func(complete bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.jobs[j] -= size
		if m.jobs[j] <= 0 {
			delete(m.jobs, j)
		}
		if complete {
			m.done += size
		}
	}
}

func (m *meter) skip(size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += size
}

func megabytes(n uint64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
