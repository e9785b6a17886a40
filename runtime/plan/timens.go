package plan

import (
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// timeOffsets is the content of /proc/PID/timens_offsets (time_namespaces(7)).
func (p *Plan) timeOffsets(spec *specs.Spec) error {
	var b strings.Builder
	for _, clock := range [...]string{"boottime", "monotonic"} {
		o, ok := spec.Linux.TimeOffsets[clock]
		if !ok {
			continue
		}
		if o.Nanosecs > 999_999_999 {
			return errdefs.Invalid("linux.timeOffsets.%s.nanosecs: %d is a second or more", clock, o.Nanosecs)
		}
		fmt.Fprintf(&b, "%s %d %d\n", clock, o.Secs, o.Nanosecs)
	}
	for clock := range spec.Linux.TimeOffsets {
		if clock != "boottime" && clock != "monotonic" {
			return errdefs.Invalid("linux.timeOffsets: %q is no clock of a time namespace (boottime, monotonic)", clock)
		}
	}
	p.TimeOffsets = b.String()
	if p.TimeOffsets != "" && (p.Flags|p.Inner)&sys.CloneNewtime == 0 {
		return errdefs.Invalid("linux.timeOffsets: needs a new time namespace in linux.namespaces")
	}
	return nil
}

// openOffsets opens the file for the offsets of a time namespace to be made, as the host's root: it belongs to that one.
func (w *writer) openOffsets(p *Plan) fork.Arg {
	if p.Inner&sys.CloneNewtime == 0 {
		return fork.Null()
	}
	return w.openProc("set time offsets", "self/timens_offsets")
}

// setOffsets makes the time namespace, which takes in the second process. (That execve enters it too, as later kernels have
// it, fails on Linux 6.1.)
func (w *writer) setOffsets(p *Plan, file fork.Arg) {
	if p.Inner&sys.CloneNewtime == 0 {
		return
	}
	w.b.Call("make a time namespace", sys.NrUnshare, fork.Imm(sys.CloneNewtime))
	if p.TimeOffsets != "" {
		w.b.Call("set time offsets", sys.NrWrite, file, w.b.Str(p.TimeOffsets), fork.Imm(uint64(len(p.TimeOffsets))))
	}
}
