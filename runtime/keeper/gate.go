package keeper

import "sync"

// gate stops a goroutine between two of its steps. The zero value is open.
type gate struct {
	mu      sync.Mutex
	release chan struct{} // nil while open
	parked  chan struct{}
}

// close asks the goroutine to stop; the channel is closed when it stands in pass.
func (g *gate) close() (parked <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.release, g.parked = make(chan struct{}), make(chan struct{})
	return g.parked
}

// open lets it go on. It does nothing at an open gate.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.release != nil {
		close(g.release)
		g.release = nil
	}
}

// pass waits while the gate is closed. Only the goroutine that the gate is for calls it.
func (g *gate) pass() {
	g.mu.Lock()
	release := g.release
	if release != nil {
		close(g.parked)
	}
	g.mu.Unlock()
	if release != nil {
		<-release
	}
}
