package plan

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// Affinity is which CPUs a process that joins a container runs on: until it is in the container's control group, and from
// then on. Nil leaves it to the kernel: the forking process's CPUs, and those of the group's cpuset.
type Affinity struct{ Initial, Final []int }

// maxCPUs is the largest NR_CPUS that any architecture can be configured with.
const maxCPUs = 8192

func newAffinity(a *specs.CPUAffinity) (out Affinity, err error) {
	if a == nil {
		return out, nil
	}
	if out.Initial, err = parseNumbers("process.execCPUAffinity.initial", a.Initial, maxCPUs); err != nil {
		return out, err
	}
	out.Final, err = parseNumbers("process.execCPUAffinity.final", a.Final, maxCPUs)
	return out, err
}

func (w *writer) affinity(step string, cpus []int) {
	if len(cpus) > 0 {
		mask := sys.Bitmap(cpus, maxCPUs)
		w.b.Call(step, sys.NrSchedSetaffinity, fork.Imm(0), fork.Int(len(mask)), w.b.Bytes(mask))
	}
}
