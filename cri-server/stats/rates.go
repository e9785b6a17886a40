package stats

import (
	"sync"
	"time"
)

// minWindow is the least time between two samples of a rate: over less, what a core did is mostly chance.
const minWindow = time.Second

// Rates turns cumulative CPU counters into rates, from one request for them to the next.
type Rates struct {
	mu   sync.Mutex
	last map[string]sample
}

type sample struct {
	at    time.Time
	usage uint64
	rate  *uint64
}

// NewRates returns an empty set of samples.
func NewRates() *Rates { return &Rates{last: map[string]sample{}} }

// Sample records the counter of key, in nanoseconds of CPU time, and returns the rate in nanoseconds a second since the
// sample before; nil if there is none yet, or if the counter went backwards.
func (r *Rates) Sample(key string, at time.Time, usage uint64) *uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, ok := r.last[key]
	if !ok || usage < before.usage {
		r.last[key] = sample{at: at, usage: usage}
		return nil
	}
	window := at.Sub(before.at)
	if window < minWindow {
		return before.rate
	}
	rate := uint64(float64(usage-before.usage) / window.Seconds())
	r.last[key] = sample{at: at, usage: usage, rate: &rate}
	return &rate
}

// Forget drops key.
func (r *Rates) Forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, key)
}
