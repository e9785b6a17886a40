package plan

import (
	"math"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/fork"
)

// The policies of linux/sched.h.
const (
	schedOther    = 0
	schedFIFO     = 1
	schedRR       = 2
	schedBatch    = 3
	schedIdle     = 5
	schedDeadline = 6
)

const (
	minNice, maxNice = -20, 19
	maxPriority      = 99 // of the real-time policies; the least is 1
	minRuntime       = 1 << 10
)

// schedPolicy returns the kernel's number of a policy.
func schedPolicy(name specs.LinuxSchedulerPolicy) (uint32, error) {
	switch name {
	case specs.SchedOther:
		return schedOther, nil
	case specs.SchedFIFO:
		return schedFIFO, nil
	case specs.SchedRR:
		return schedRR, nil
	case specs.SchedBatch:
		return schedBatch, nil
	case specs.SchedIdle:
		return schedIdle, nil
	case specs.SchedDeadline:
		return schedDeadline, nil
	case specs.SchedISO:
		return 0, errdefs.NotSupported("process.scheduler.policy: SCHED_ISO is a number that Linux has reserved and does not implement")
	}
	return 0, errdefs.Invalid("process.scheduler.policy: %q is not a scheduling policy", name)
}

// schedFlags are the SCHED_FLAG_ bits, in the order of linux/sched.h.
func schedFlags() []specs.LinuxSchedulerFlag {
	return []specs.LinuxSchedulerFlag{
		specs.SchedFlagResetOnFork, specs.SchedFlagReclaim, specs.SchedFlagDLOverrun, specs.SchedFlagKeepPolicy,
		specs.SchedFlagKeepParams, specs.SchedFlagUtilClampMin, specs.SchedFlagUtilClampMax,
	}
}

// newScheduler reads process.scheduler; nil leaves what the forking process has. A nice value is taken with any policy, as
// the kernel does, which looks at it for SCHED_OTHER and SCHED_BATCH.
func newScheduler(s *specs.Scheduler) (*sys.SchedAttr, error) {
	if s == nil {
		return nil, nil
	}
	policy, err := schedPolicy(s.Policy)
	if err != nil {
		return nil, err
	}
	if err := checkScheduler(s, policy); err != nil {
		return nil, err
	}
	a := &sys.SchedAttr{
		Policy: policy, Nice: s.Nice, Priority: uint32(s.Priority), Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
	}
	for i, name := range s.Flags {
		bit, err := named("process.scheduler.flags", i, name, schedFlags())
		if err != nil {
			return nil, err
		}
		a.Flags |= 1 << bit
	}
	return a, nil
}

func checkScheduler(s *specs.Scheduler, policy uint32) error {
	realtime, deadline := policy == schedFIFO || policy == schedRR, policy == schedDeadline
	switch {
	case s.Nice < minNice || s.Nice > maxNice:
		return errdefs.Invalid("process.scheduler.nice: %d is not between %d and %d", s.Nice, minNice, maxNice)
	case realtime && (s.Priority < 1 || s.Priority > maxPriority):
		return errdefs.Invalid("process.scheduler.priority: %d is not between 1 and %d, as %s needs", s.Priority, maxPriority, s.Policy)
	case !realtime && s.Priority != 0:
		return errdefs.Invalid("process.scheduler.priority: %d, but %s has no priorities", s.Priority, s.Policy)
	case !deadline && s.Runtime != 0:
		return errdefs.Invalid("process.scheduler.runtime: is for SCHED_DEADLINE, not for %s", s.Policy)
	case !deadline && s.Deadline != 0:
		return errdefs.Invalid("process.scheduler.deadline: is for SCHED_DEADLINE, not for %s", s.Policy)
	case !deadline && s.Period != 0:
		return errdefs.Invalid("process.scheduler.period: is for SCHED_DEADLINE, not for %s", s.Policy)
	}
	if !deadline {
		return nil
	}
	// __checkparam_dl: a period of 0 stands for the deadline; the highest bit is the kernel's own.
	period := s.Period
	if period == 0 {
		period = s.Deadline
	}
	switch {
	case s.Runtime < minRuntime:
		return errdefs.Invalid("process.scheduler.runtime: %d ns is less than the %d that the kernel can tell apart", s.Runtime, minRuntime)
	case s.Deadline < s.Runtime || s.Deadline > math.MaxInt64:
		return errdefs.Invalid("process.scheduler.deadline: %d ns is less than the runtime, %d ns, or too large", s.Deadline, s.Runtime)
	case period < s.Deadline || period > math.MaxInt64:
		return errdefs.Invalid("process.scheduler.period: %d ns is less than the deadline, %d ns, or too large", period, s.Deadline)
	}
	return nil
}

func (w *writer) scheduler(a *sys.SchedAttr) {
	if a != nil {
		w.b.Call("set the scheduling policy", sys.NrSchedSetattr, fork.Imm(0), w.b.Bytes(a.Bytes()), fork.Imm(0))
	}
}
