// Package lane runs functions one after another without a goroutine that waits for them.
//
// The owner of some state posts everything that touches the state to its lane, so that the state needs no lock and I/O
// holds none: not even a log on a dead disk blocks anyone but its own lane. An idle lane is a few words of memory.
package lane

import (
	"runtime"
	"sync"
)

// Lane is a queue of functions. The zero value is ready.
type Lane struct {
	mu      sync.Mutex
	tasks   []func()
	running bool
}

// Do runs f after everything posted before. It does not wait.
func (l *Lane) Do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tasks = append(l.tasks, f)
	if !l.running {
		l.running = true
		go l.run()
	}
}

// Wait is [Lane.Do] that returns f's result.
func (l *Lane) Wait(f func() error) error {
	done := make(chan error, 1)
	l.Do(func() { done <- f() })
	return <-done
}

func (l *Lane) run() {
	for {
		tasks := l.take()
		if tasks == nil {
			return
		}
		for _, f := range tasks {
			f()
		}
		// A lane that posts to itself, as one does whose process writes without end, lets those that have waited go first.
		runtime.Gosched()
	}
}

// take returns what is posted; when that is nothing, the lane has stopped.
func (l *Lane) take() []func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	tasks := l.tasks
	l.tasks = nil
	l.running = tasks != nil
	return tasks
}
