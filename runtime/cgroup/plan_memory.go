package cgroup

import (
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// memory plans the limits; in OCI's terms Swap is memory plus swap, zero is unset and -1 is none.
func (p *planner) memory(r *specs.LinuxResources) error {
	m := r.Memory
	if m == nil {
		return nil
	}
	if err := checkMemory(m); err != nil {
		return err
	}
	_, present := p.v2("memory")
	if !(set(m.Limit) || set(m.Swap) || set(m.Reservation) || set(m.KernelTCP) || m.Swappiness != nil ||
		(m.DisableOOMKiller != nil && (present || *m.DisableOOMKiller))) {
		return nil
	}
	v2, err := p.need("memory", "memory")
	if err != nil {
		return err
	}
	if v2 {
		return p.memoryV2(m)
	}
	p.memoryV1(m)
	return nil
}

// checkMemory refuses what no kernel takes.
func checkMemory(m *specs.LinuxMemory) error {
	for _, l := range []struct {
		field string
		n     *int64
	}{
		{"limit", m.Limit},
		{"reservation", m.Reservation},
		{"swap", m.Swap},
		{"kernel", kernelLimit(m)},
		{"kernelTCP", m.KernelTCP},
	} {
		if l.n != nil && *l.n < -1 {
			return invalid("memory."+l.field, "%d is below -1", *l.n)
		}
	}
	switch {
	case m.UseHierarchy != nil && !*m.UseHierarchy:
		return unable("memory.useHierarchy", "Linux accounts memory by hierarchy always, since 5.11")
	case m.Swappiness != nil && *m.Swappiness > 100:
		return invalid("memory.swappiness", "%d is above 100", *m.Swappiness)
	case set(m.Swap) && set(m.Limit) && *m.Swap > 0 && (*m.Limit < 0 || *m.Swap < *m.Limit):
		return invalid("memory.swap", "memory+swap (%d) is below memory.limit (%d)", *m.Swap, *m.Limit)
	}
	return nil
}

func kernelLimit(m *specs.LinuxMemory) *int64 {
	//lint:ignore SA1019 old bundles use the deprecated field
	return m.Kernel
}

// Ignored says which limits have no effect, because what they limit counts towards another one. Those are not refused, for
// old bundles set them, and runc ignores them too.
func Ignored(r *specs.LinuxResources) []string {
	if r == nil || r.Memory == nil || kernelLimit(r.Memory) == nil || *kernelLimit(r.Memory) <= 0 {
		return nil
	}
	return []string{"linux.resources.memory.kernel is ignored: Linux has no limit of its own for kernel memory since 5.16, it counts towards memory.limit"}
}

// memoryV1 plans memory and memory+swap as a pair: the kernel refuses (EINVAL) whatever would put the second below the
// first between two writes, so that one of the two orders works and which one depends on the present limits.
func (p *planner) memoryV1(m *specs.LinuxMemory) {
	swap := m.Swap
	if !set(swap) && set(m.Limit) && *m.Limit < 0 {
		swap = m.Limit // lifting the one limit alone is refused while the other stands
	}
	if set(m.Limit) {
		p.add("memory.limit", "memory", "memory.limit_in_bytes", strconv.FormatInt(*m.Limit, 10)).linked = set(swap)
	}
	if set(swap) {
		// The file is missing without CONFIG_SWAP; without swap there is nothing to lift and nothing to keep out.
		none := *swap < 0 || set(m.Limit) && *swap == *m.Limit
		p.add("memory.swap", "memory", "memory.memsw.limit_in_bytes", strconv.FormatInt(*swap, 10)).optional = none
	}
	if set(m.Reservation) {
		p.add("memory.reservation", "memory", "memory.soft_limit_in_bytes", strconv.FormatInt(*m.Reservation, 10))
	}
	if set(m.KernelTCP) {
		p.add("memory.kernelTCP", "memory", "memory.kmem.tcp.limit_in_bytes", strconv.FormatInt(*m.KernelTCP, 10))
	}
	if m.Swappiness != nil {
		p.add("memory.swappiness", "memory", "memory.swappiness", strconv.FormatUint(*m.Swappiness, 10))
	}
	if m.DisableOOMKiller != nil {
		value := "0"
		if *m.DisableOOMKiller {
			value = "1"
		}
		p.add("memory.disableOOMKiller", "memory", "memory.oom_control", value)
	}
}

func (p *planner) memoryV2(m *specs.LinuxMemory) error {
	switch {
	case m.DisableOOMKiller != nil && *m.DisableOOMKiller:
		return unable("memory.disableOOMKiller", "cgroup v2 can't")
	case m.KernelTCP != nil && *m.KernelTCP > 0:
		return unable("memory.kernelTCP", "cgroup v2 has no limit of its own for it")
	case m.Swappiness != nil:
		return unable("memory.swappiness", "cgroup v2 has none; use memory.swap")
	case set(m.Swap) && *m.Swap > 0 && !set(m.Limit):
		return invalid("memory.swap", "memory+swap without memory.limit says nothing about swap")
	}
	swap := ""
	switch {
	case set(m.Swap) && *m.Swap < 0, !set(m.Swap) && set(m.Limit) && *m.Limit < 0:
		swap = "max"
	case set(m.Swap):
		swap = strconv.FormatInt(*m.Swap-*m.Limit, 10)
	}
	if swap != "" {
		// Without swap in the kernel the file is missing, and then no swap is what there is anyway.
		p.add("memory.swap", "memory", "memory.swap.max", swap).optional = swap == "0" || swap == "max"
	}
	if set(m.Limit) {
		p.add("memory.limit", "memory", "memory.max", maxOr(*m.Limit))
	}
	if set(m.Reservation) {
		p.add("memory.reservation", "memory", "memory.low", maxOr(*m.Reservation))
	}
	return nil
}
