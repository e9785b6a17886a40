package spec

import (
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Profiles keeps the seccomp profiles that RuntimeDefault has become, of which a node's containers share few: each takes 0.1 ms to make, and
// 20 KiB. They are shared, so nobody changes them. Its methods may be called from many goroutines at once.
type Profiles struct {
	mu   sync.Mutex
	kept map[string]*specs.LinuxSeccomp // by the capabilities that matter
}

// maxProfiles is how many are kept. There may be thousands of sets of capabilities, and containers that nobody has made use so many.
const maxProfiles = 64

// NewProfiles returns an empty collection.
func NewProfiles() *Profiles { return &Profiles{kept: make(map[string]*specs.LinuxSeccomp)} }

// runtimeDefault returns the profile for a process that may get the given capabilities.
func (p *Profiles) runtimeDefault(capabilities []string) *specs.LinuxSeccomp {
	if p == nil {
		return defaultSeccomp(capabilities)
	}
	var matter []string
	for capability := range allowedByCapability() {
		if slices.Contains(capabilities, capability) {
			matter = append(matter, capability)
		}
	}
	slices.Sort(matter)
	key := strings.Join(matter, " ")
	p.mu.Lock()
	profile := p.kept[key]
	p.mu.Unlock()
	if profile != nil {
		return profile
	}
	profile = defaultSeccomp(matter)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kept) >= maxProfiles {
		clear(p.kept)
	}
	p.kept[key] = profile
	return profile
}
