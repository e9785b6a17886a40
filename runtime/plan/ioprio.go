package plan

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// IOPriority is a class and a level in it, as ioprio_set(2) takes them.
type IOPriority uint32

// Of linux/ioprio.h.
const (
	ioprioClassShift = 13
	ioprioMaxLevel   = 7
	ioprioWhoProcess = 1
)

// newIOPriority reads process.ioPriority; nil leaves what the forking process has.
func newIOPriority(p *specs.LinuxIOPriority) (*IOPriority, error) {
	if p == nil {
		return nil, nil
	}
	var class IOPriority
	switch p.Class {
	case specs.IOPRIO_CLASS_RT:
		class = 1
	case specs.IOPRIO_CLASS_BE:
		class = 2
	case specs.IOPRIO_CLASS_IDLE:
		class = 3
	default:
		return nil, errdefs.Invalid("process.ioPriority.class: %q is none of IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE", p.Class)
	}
	if p.Priority < 0 || p.Priority > ioprioMaxLevel {
		return nil, errdefs.Invalid("process.ioPriority.priority: %d is not between 0 and %d", p.Priority, ioprioMaxLevel)
	}
	prio := class<<ioprioClassShift | IOPriority(p.Priority)
	return &prio, nil
}

// ioPriority sets it for the child alone, which is all of the process group that the spec speaks of: it has just made it.
func (w *writer) ioPriority(p *IOPriority) {
	if p != nil {
		w.b.Call("set the I/O priority", sys.NrIoprioSet, fork.Imm(ioprioWhoProcess), fork.Imm(0), fork.Imm(uint64(*p)))
	}
}
