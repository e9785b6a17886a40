package rpc

import (
	"sync"

	"github.com/berth-runtime/berth/imagestore"
)

// pulls knows how far each running PullImage is, by the name that was asked for.
type pulls struct {
	mu      sync.Mutex
	running map[string]*pull
}

type pull struct {
	callers int
	last    imagestore.Progress
}

func newPulls() *pulls { return &pulls{running: map[string]*pull{}} }

// begin enters a pull. tell takes its progress, done leaves it. Several of one name share what is told last.
func (p *pulls) begin(ref string) (tell func(imagestore.Progress), done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.running[ref]
	if one == nil {
		one = &pull{}
		p.running[ref] = one
	}
	one.callers++
	return func(now imagestore.Progress) { p.tell(one, now) }, func() { p.done(ref, one) }
}

func (p *pulls) tell(one *pull, now imagestore.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one.last = now
}

func (p *pulls) done(ref string, one *pull) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one.callers--
	if one.callers == 0 {
		delete(p.running, ref)
	}
}

// progress returns how far the pull of ref is, and whether there is one.
func (p *pulls) progress(ref string) (imagestore.Progress, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.running[ref]
	if one == nil {
		return imagestore.Progress{}, false
	}
	return one.last, true
}
