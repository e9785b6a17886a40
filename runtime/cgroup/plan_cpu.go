package cgroup

import (
	"math"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func (p *planner) cpuset(r *specs.LinuxResources) error {
	if r.CPU == nil {
		return nil
	}
	for _, set := range []struct{ field, file, value string }{
		{"cpu.cpus", "cpuset.cpus", r.CPU.Cpus},
		{"cpu.mems", "cpuset.mems", r.CPU.Mems},
	} {
		if set.value == "" {
			continue
		}
		if _, err := p.need("cpuset", set.field); err != nil {
			return err
		}
		if _, ok := parseSet(set.value); !ok {
			return invalid(set.field, "%.100q is not a list such as 0-3,7", set.value)
		}
		p.add(set.field, "cpuset", set.file, set.value)
	}
	return nil
}

// cpu plans weights and bandwidth. Zero means unset, as in CRI.
func (p *planner) cpu(r *specs.LinuxResources) error {
	c := r.CPU
	if c == nil || !(set(c.Shares) || set(c.Quota) || set(c.Period) || c.Burst != nil || c.Idle != nil ||
		set(c.RealtimeRuntime) || set(c.RealtimePeriod)) {
		return nil
	}
	v2, err := p.need("cpu", "cpu")
	if err != nil {
		return err
	}
	switch {
	case c.Idle != nil && *c.Idle != 0 && *c.Idle != 1:
		return invalid("cpu.idle", "%d is neither 0 nor 1", *c.Idle)
	case c.Burst != nil && set(c.Quota) && *c.Quota > 0 && *c.Burst > uint64(*c.Quota):
		return invalid("cpu.burst", "%d is more than the quota, %d", *c.Burst, *c.Quota)
	case v2 && set(c.RealtimePeriod):
		return unable("cpu.realtimePeriod", "cgroup v2 has no realtime limits")
	case v2 && set(c.RealtimeRuntime):
		return unable("cpu.realtimeRuntime", "cgroup v2 has no realtime limits")
	case v2:
		p.cpuV2(c)
	default:
		p.cpuV1(c)
	}
	return nil
}

func (p *planner) cpuV1(c *specs.LinuxCPU) {
	p.idle(c)
	if set(c.Shares) && !idle(c) {
		p.add("cpu.shares", "cpu", "cpu.shares", strconv.FormatUint(*c.Shares, 10))
	}
	// The kernel checks runtime against period, quota/period against the parent's and children's, and burst against
	// quota, at each write.
	if set(c.RealtimePeriod) {
		p.add("cpu.realtimePeriod", "cpu", "cpu.rt_period_us", strconv.FormatUint(*c.RealtimePeriod, 10)).linked = set(c.RealtimeRuntime)
	}
	if set(c.RealtimeRuntime) {
		p.add("cpu.realtimeRuntime", "cpu", "cpu.rt_runtime_us", strconv.FormatInt(*c.RealtimeRuntime, 10))
	}
	if set(c.Period) {
		p.add("cpu.period", "cpu", "cpu.cfs_period_us", strconv.FormatUint(*c.Period, 10)).linked = set(c.Quota) || c.Burst != nil
	}
	if set(c.Quota) {
		p.add("cpu.quota", "cpu", "cpu.cfs_quota_us", strconv.FormatInt(max(*c.Quota, -1), 10)).linked = c.Burst != nil
	}
	if c.Burst != nil {
		p.add("cpu.burst", "cpu", "cpu.cfs_burst_us", strconv.FormatUint(*c.Burst, 10)).optional = *c.Burst == 0 // Linux 5.14
	}
}

func (p *planner) cpuV2(c *specs.LinuxCPU) {
	p.idle(c)
	if set(c.Shares) && !idle(c) {
		p.add("cpu.shares", "cpu", "cpu.weight", strconv.FormatUint(weightOfShares(*c.Shares), 10))
	}
	if set(c.Quota) || set(c.Period) {
		field, value := "cpu.period", p.now.quota
		if set(c.Quota) {
			field, value = "cpu.quota", maxOr(*c.Quota)
		}
		if set(c.Period) { // left out, the kernel keeps the present one
			value += " " + strconv.FormatUint(*c.Period, 10)
		}
		p.add(field, "cpu", "cpu.max", value).linked = c.Burst != nil
	}
	if c.Burst != nil {
		p.add("cpu.burst", "cpu", "cpu.max.burst", strconv.FormatUint(*c.Burst, 10)).optional = *c.Burst == 0
	}
}

// idle plans SCHED_IDLE for a whole group (Linux 5.15). Nothing is lost where a kernel without it is asked for 0.
func (p *planner) idle(c *specs.LinuxCPU) {
	if c.Idle != nil {
		p.add("cpu.idle", "cpu", "cpu.idle", strconv.FormatInt(*c.Idle, 10)).optional = !idle(c)
	}
}

// idle groups have the least weight there is and refuse to be given another.
func idle(c *specs.LinuxCPU) bool { return c.Idle != nil && *c.Idle != 0 }

// weightOfShares converts v1 CPU shares [2..262144] to a v2 weight [1..10000] such that the three points that people rely
// on are kept: 2→1, 1024→100 (each version's default) and 262144→10000. The parabola through them in log space is the
// one agreed on by the OCI runtimes and Kubernetes (kubernetes/kubernetes#131216); the older straight line made 1024
// shares a weight of 39, less than any system service's.
func weightOfShares(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// parseSet reads a list of CPUs or memory nodes, "0-3,7" (cpuset(7), "List format"), into a bit mask, the lowest number
// first. Numbers have at most 16 bits, which is more than Linux can be built for.
func parseSet(s string) (mask []byte, ok bool) {
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || to < from || len(s) > maxUnified {
			return nil, false
		}
		for n := from; n <= to; n++ {
			for uint64(len(mask)) <= n/8 {
				mask = append(mask, 0)
			}
			mask[n/8] |= 1 << (n % 8)
		}
	}
	return mask, true
}
