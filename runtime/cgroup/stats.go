package cgroup

// Stats are the counters of one group, including its children. A field that the host's controllers can't tell is
// zero; the pointers are nil where the whole controller is missing.
type Stats struct {
	CPU     *CPUStats
	Memory  *MemoryStats
	PIDs    *PIDStats
	Hugetlb map[string]HugetlbStats // by page size in the kernel's spelling, "2MB"
	IO      []IOStats

	IOPressure *Pressure
}

// CPUStats are in nanoseconds.
type CPUStats struct {
	UsageNS, UserNS, SystemNS           uint64
	Periods, ThrottledPeriods, Throttle uint64 // Throttle in nanoseconds
	Pressure                            *Pressure
}

// MemoryStats are in bytes, faults in counts.
type MemoryStats struct {
	Usage           uint64 // everything charged, page cache included
	WorkingSet      uint64 // Usage less inactive file pages, as the kubelet computes it
	Limit           uint64 // 0 = none
	RSS             uint64 // anonymous memory
	Cache           uint64
	Swap, SwapLimit uint64 // SwapLimit is of swap alone; 0 = none set or no swap
	PageFaults      uint64
	MajorPageFaults uint64
	OOMKills        uint64
	Pressure        *Pressure
}

// PIDStats counts tasks; Limit is 0 where there is none.
type PIDStats struct{ Current, Limit uint64 }

// HugetlbStats are in bytes; Limit is 0 where there is none, Peak of v1 only.
type HugetlbStats struct{ Usage, Limit, Peak, Failures uint64 }

// IOStats are of one block device.
type IOStats struct {
	Major, Minor                             uint32
	ReadBytes, WriteBytes, ReadOps, WriteOps uint64
	DiscardBytes, DiscardOps                 uint64
}

// Pressure is a PSI file (v2 and hybrid only): Documentation/accounting/psi.rst.
type Pressure struct{ Some, Full PressureLine }

// PressureLine holds averages in percent and the total in microseconds.
type PressureLine struct {
	Avg10, Avg60, Avg300 float64
	Total                uint64
}
