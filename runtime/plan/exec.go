package plan

import (
	"errors"
	"os"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// Exec is all that happens to a process that joins a running container.
type Exec struct {
	Process  Process
	Launch   Launch
	Target   Target
	Affinity Affinity
	Warnings []string

	// HostMounts says that the container has no mount namespace in its spec, which is asked instead of the kernel: the one that
	// it is in may be another than ours and lead to a host's root nonetheless. Root must then be the root of its first process.
	HostMounts bool
	Root       *os.File

	// Proc is a mount of procfs, attached nowhere, that shows at least the container's processes; nil: the process mounts one for
	// itself, which takes as long as all else that it does.
	Proc *os.File
}

// NewExec turns a process description into a plan. Errors are as those of [New].
func NewExec(p *specs.Process, facts Facts) (*Exec, error) {
	if p == nil {
		return nil, errdefs.Invalid("process: missing")
	}
	p = facts.Inherited.complete(p)
	proc, warnings, err := newProcess(p, facts, facts.Target.User != nil)
	if err != nil {
		return nil, err
	}
	if err := proc.container(&facts.Inherited.linux); err != nil {
		return nil, err
	}
	if m := facts.Target.User; m != nil {
		if err := checkIDs(*m, p); err != nil {
			return nil, err
		}
	}
	affinity, err := newAffinity(p.ExecCPUAffinity)
	return &Exec{
		Process: proc, Target: facts.Target, Affinity: affinity, Warnings: warnings, HostMounts: facts.Inherited.hostMounts,
	}, err
}

// joined are the namespaces that exec enters by one setns; the PID namespace is entered by the forking thread.
const joined = syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET | sys.CloneNewcgroup

// Program writes the plan down as system calls. The pidfd stands for the container's first process (setns with a pidfd:
// Linux 5.8); tasks are as in [Files], or the cgroup.procs of a group that is not joined by being born in it. It takes over
// the files, also when it fails.
func (e *Exec) Program(pidfd *os.File, tasks []*os.File) (*fork.Program, error) {
	w := &writer{b: fork.NewBuilder(), root: fork.Int(sys.AtFdcwd)}
	// Without the first, in a container with a user namespace it would go on as root of the host; without the second, in the
	// host's root.
	if !e.Target.Known || e.HostMounts && e.Root == nil {
		return nil, errors.Join(errdefs.Bug("exec without a look at the container"), pidfd.Close(), (&Files{Root: e.Root, Tasks: tasks}).Close(), e.closeProc())
	}
	if e.Proc != nil {
		proc := w.b.File(e.Proc)
		w.proc, e.Proc = &proc, nil
	}
	w.affinity("set the initial CPU affinity", e.Affinity.Initial)
	w.tasks(tasks)
	w.affinity("set the final CPU affinity", e.Affinity.Final)
	namespaces := uint64(joined)
	if e.Target.Time {
		namespaces |= sys.CloneNewtime
	}
	if e.Target.User != nil {
		namespaces |= sys.CloneNewuser
		w.raiseLimits(e.Process.Rlimits) // the host's root may
	}
	w.oomScoreAdj(&e.Process)
	w.labels(&e.Process, e.Launch)
	w.proc = nil
	// All at once or none. The working directory is the container's root from then on.
	w.b.Call("join the container's namespaces", sys.NrSetns, w.b.File(pidfd), fork.Imm(namespaces))
	if e.Target.User != nil {
		w.becomeRoot()
	}
	if e.HostMounts {
		w.root, e.Root = w.b.File(e.Root), nil
		w.changeRoot()
	}
	w.begin()
	w.keyring(e.Launch)
	w.process(&e.Process, e.Launch)
	prog, err := w.b.Program()
	if err != nil {
		return nil, errors.Join(err, w.b.Close())
	}
	return prog, nil
}

func (e *Exec) closeProc() error {
	if e.Proc == nil {
		return nil
	}
	return e.Proc.Close()
}
