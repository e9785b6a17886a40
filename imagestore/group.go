package imagestore

import (
	"context"
	"sync"
	"sync/atomic"
)

// group runs one job for each key, joined by all who want its outcome. A job ends early only when the last of them has
// gone.
type group struct {
	mu   sync.Mutex
	jobs map[string]*job // guarded by mu
	wg   sync.WaitGroup
}

// job is one piece of work in flight.
type job struct {
	bytes   atomic.Int64 // progress, for all who joined
	done    chan struct{}
	err     error // readable after done
	cancel  context.CancelFunc
	waiters int // guarded by group.mu
}

// join starts the job of a key, or joins the one that runs. The caller must call wait once. It reports whether the caller
// is the one that started it.
func (g *group) join(ctx context.Context, key string, work func(context.Context, *job) error) (*job, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if j := g.jobs[key]; j != nil {
		j.waiters++
		return j, false
	}
	// The first to come may be the first to go: the job outlives its context, but keeps its values.
	jobCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	j := &job{done: make(chan struct{}), cancel: cancel, waiters: 1}
	if g.jobs == nil {
		g.jobs = map[string]*job{}
	}
	g.jobs[key] = j
	g.wg.Go(func() {
		j.err = work(jobCtx, j)
		g.mu.Lock()
		if g.jobs[key] == j {
			delete(g.jobs, key)
		}
		g.mu.Unlock()
		cancel()
		close(j.done)
	})
	return j, true
}

// wait returns the job's outcome, or the context's error if that is over first. The last to leave a running job cancels
// it and waits for its end, so that nobody starts the same work while it is being undone.
func (g *group) wait(ctx context.Context, j *job) error {
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	j.waiters--
	last := j.waiters == 0
	if last {
		j.cancel()
	}
	g.mu.Unlock()
	if last {
		<-j.done
	}
	return ctx.Err()
}
