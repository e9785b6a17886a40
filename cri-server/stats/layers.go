package stats

import (
	"context"
	"sync"
	"time"
)

// Layers remembers how large writable layers are: measuring one is a walk over all of its files.
type Layers struct {
	fresh time.Duration

	mu    sync.Mutex
	known map[string]*measure
}

type measure struct {
	value   *Filesystem
	err     error
	running chan struct{} // closed when the walk under way is done; nil if there is none
}

// NewLayers returns an empty memory whose values count as fresh for a while.
func NewLayers(fresh time.Duration) *Layers {
	return &Layers{fresh: fresh, known: map[string]*measure{}}
}

// Get returns the size of the layer key. What is known is returned at once; if it is old, a walk is started for the next
// time. Only who asks first waits for the walk, or for ctx. One walk a layer is under way, however many ask.
func (l *Layers) Get(ctx context.Context, key string, walk func(context.Context) (Filesystem, error)) (*Filesystem, error) {
	l.mu.Lock()
	m, ok := l.known[key]
	if !ok {
		m = &measure{}
		l.known[key] = m
	}
	old := m.value == nil || time.Since(m.value.At) > l.fresh
	if old && m.running == nil {
		m.running = make(chan struct{})
		go l.measure(context.WithoutCancel(ctx), m, walk)
	}
	value, running := m.value, m.running
	l.mu.Unlock()
	if value != nil {
		return value, nil
	}
	select {
	case <-running:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return m.value, m.err
}

func (l *Layers) measure(ctx context.Context, m *measure, walk func(context.Context) (Filesystem, error)) {
	value, err := walk(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	m.err = err
	if err == nil {
		m.value = &value
	}
	close(m.running)
	m.running = nil
}

// Forget drops key.
func (l *Layers) Forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, key)
}
