package plan

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// Personality is an execution domain (personality(2)).
type Personality uint32

// The domains that the spec knows (linux/personality.h).
const (
	perLinux   Personality = 0x0000
	perLinux32 Personality = 0x0008
)

// newPersonality reads linux.personality; nil leaves what the forking process has.
func newPersonality(p *specs.LinuxPersonality) (*Personality, error) {
	if p == nil {
		return nil, nil
	}
	if len(p.Flags) > 0 {
		return nil, errdefs.Invalid("linux.personality.flags[0]: %q, but the spec defines no flags", p.Flags[0])
	}
	var domain Personality
	switch p.Domain {
	case specs.PerLinux:
		domain = perLinux
	case specs.PerLinux32:
		domain = perLinux32
	default:
		return nil, errdefs.Invalid("linux.personality.domain: %q is neither LINUX nor LINUX32", p.Domain)
	}
	return &domain, nil
}

func (w *writer) personality(p *Personality) {
	if p != nil {
		w.b.Call("set the personality", sys.NrPersonality, fork.Imm(uint64(*p)))
	}
}
