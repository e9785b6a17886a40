package plan

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Rlimit is a limit to set.
type Rlimit struct {
	Name       string
	Resource   int
	Soft, Hard uint64
	Own        uint64 `json:",omitempty"` // hard limit of the forking process, if it is lower
}

// defaultNoFile is the soft limit of open files of a process whose spec says nothing, the kernel's own default. It can't
// be inherited: Go programs, the keeper too, raise their own to the hard limit when they start.
const defaultNoFile = 1024

// RlimitNames are in the order of their numbers (asm-generic/resource.h).
func RlimitNames() []string {
	return []string{
		"RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC",
		"RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE",
		"RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
	}
}

// newRlimits reads the limits. Without CAP_SYS_RESOURCE a hard limit can't be raised: it is clamped, with a warning.
func newRlimits(list []specs.POSIXRlimit, facts Facts) (out []Rlimit, warnings []string, err error) {
	number := make(map[string]int)
	for i, n := range RlimitNames() {
		number[n] = i
	}
	seen := make(map[string]bool)
	for i, r := range list {
		n, ok := number[r.Type]
		switch {
		case !ok:
			return nil, nil, errdefs.Invalid("process.rlimits[%d]: unknown type %q", i, r.Type)
		case seen[r.Type]:
			return nil, nil, errdefs.Invalid("process.rlimits[%d]: %s twice", i, r.Type)
		case r.Soft > r.Hard:
			return nil, nil, errdefs.Invalid("process.rlimits[%d]: soft limit %d of %s above hard limit %d", i, r.Soft, r.Type, r.Hard)
		}
		seen[r.Type] = true
		l := Rlimit{r.Type, n, r.Soft, r.Hard, 0}
		own, ok := facts.HardLimits[r.Type]
		if ok && l.Hard > own {
			l.Own = own
		}
		if ok && l.Hard > own && facts.Caps&(1<<capSysResource) == 0 {
			warnings = append(warnings, fmt.Sprintf("hard limit %d of %s lowered to %d: raising it needs CAP_SYS_RESOURCE", l.Hard, l.Name, own))
			l.Hard, l.Soft, l.Own = own, min(l.Soft, own), 0
		}
		out = append(out, l)
	}
	if own, ok := facts.HardLimits["RLIMIT_NOFILE"]; ok && !seen["RLIMIT_NOFILE"] {
		out = append(out, Rlimit{"RLIMIT_NOFILE", number["RLIMIT_NOFILE"], min(defaultNoFile, own), own, 0})
	}
	return out, warnings, nil
}
