package main

import (
	"math"

	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/oci"
)

// stats are the counters in runc's form, which cAdvisor and others read. Times are in nanoseconds, sizes in bytes.
type stats struct {
	CPU     cpuStats             `json:"cpu"`
	CPUSet  cpusetStats          `json:"cpuset"`
	Memory  memoryStats          `json:"memory"`
	Pids    pidsStats            `json:"pids"`
	Blkio   blkioStats           `json:"blkio"`
	Hugetlb map[string]hugeStats `json:"hugetlb"`
	RDT     rdtStats             `json:"intel_rdt"`
}

type cpuStats struct {
	Usage      cpuUsage        `json:"usage"`
	Throttling throttlingStats `json:"throttling"`
	PSI        *psiStats       `json:"psi,omitempty"`
}

type cpuUsage struct {
	Total        uint64   `json:"total,omitempty"`
	PerCPU       []uint64 `json:"percpu,omitempty"`
	PerCPUKernel []uint64 `json:"percpu_kernel,omitempty"`
	PerCPUUser   []uint64 `json:"percpu_user,omitempty"`
	Kernel       uint64   `json:"kernel"`
	User         uint64   `json:"user"`
}

type throttlingStats struct {
	Periods          uint64 `json:"periods,omitempty"`
	ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
	ThrottledTime    uint64 `json:"throttledTime,omitempty"`
}

type psiStats struct {
	Some psiLine `json:"some"`
	Full psiLine `json:"full"`
}

type psiLine struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

type cpusetStats struct {
	CPUs []uint16 `json:"cpus,omitempty"`
	Mems []uint16 `json:"mems,omitempty"`
}

type memoryStats struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     memoryEntry       `json:"usage"`
	Swap      memoryEntry       `json:"swap"` // with memory
	Kernel    memoryEntry       `json:"kernel"`
	KernelTCP memoryEntry       `json:"kernelTCP"`
	Raw       map[string]uint64 `json:"raw,omitempty"`
	PSI       *psiStats         `json:"psi,omitempty"`
}

// memoryEntry has the greatest number as its limit if there is none.
type memoryEntry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type pidsStats struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

type blkioStats struct {
	Bytes []blkioEntry `json:"ioServiceBytesRecursive,omitempty"`
	Ops   []blkioEntry `json:"ioServicedRecursive,omitempty"`
	PSI   *psiStats    `json:"psi,omitempty"`
}

type blkioEntry struct {
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
	Op    string `json:"op"`
	Value uint64 `json:"value"`
}

type hugeStats struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

func newStats(s oci.Stats) stats {
	d := s.Group
	out := stats{
		RDT: newRDT(s.Share),
		CPU: newCPU(d), Memory: newMemory(d), Hugetlb: map[string]hugeStats{},
		CPUSet: cpusetStats{numbers(d.CPUSet.CPUs), numbers(d.CPUSet.Mems)},
	}
	if p := d.PIDs; p != nil {
		out.Pids = pidsStats{p.Current, p.Limit}
	}
	out.Blkio.PSI = newPSI(d.IOPressure)
	for _, d := range d.IO {
		out.Blkio.Bytes = append(out.Blkio.Bytes, blkioEntry{d.Major, d.Minor, "Read", d.ReadBytes}, blkioEntry{d.Major, d.Minor, "Write", d.WriteBytes})
		out.Blkio.Ops = append(out.Blkio.Ops, blkioEntry{d.Major, d.Minor, "Read", d.ReadOps}, blkioEntry{d.Major, d.Minor, "Write", d.WriteOps})
	}
	for size, h := range d.Hugetlb {
		out.Hugetlb[size] = hugeStats{h.Usage, h.Peak, h.Failures}
	}
	return out
}

func newCPU(d cgroup.Details) (out cpuStats) {
	for _, c := range d.PerCPU {
		out.Usage.PerCPU = append(out.Usage.PerCPU, c.UserNS+c.SystemNS)
		out.Usage.PerCPUKernel = append(out.Usage.PerCPUKernel, c.SystemNS)
		out.Usage.PerCPUUser = append(out.Usage.PerCPUUser, c.UserNS)
	}
	if c := d.CPU; c != nil {
		out.Usage.Total, out.Usage.Kernel, out.Usage.User = c.UsageNS, c.SystemNS, c.UserNS
		out.Throttling = throttlingStats{c.Periods, c.ThrottledPeriods, c.Throttle}
		out.PSI = newPSI(c.Pressure)
	}
	return out
}

func newMemory(d cgroup.Details) memoryStats {
	m := d.Memory
	if m == nil {
		return memoryStats{}
	}
	swap := d.MemorySwap
	if s := d.SwapUse; swap == (cgroup.MemoryUse{}) { // cgroup v2 counts swap alone
		swap = cgroup.MemoryUse{Usage: d.MemoryUse.Usage + s.Usage, Failures: s.Failures}
		if s.Limit > 0 && d.MemoryUse.Limit > 0 {
			swap.Limit = d.MemoryUse.Limit + s.Limit
		}
	}
	return memoryStats{
		Cache: m.Cache, Usage: entry(d.MemoryUse), Swap: entry(swap), Kernel: entry(d.Kernel), KernelTCP: entry(d.KernelTCP),
		Raw: d.MemoryRaw, PSI: newPSI(m.Pressure),
	}
}

func entry(u cgroup.MemoryUse) memoryEntry {
	e := memoryEntry{u.Limit, u.Usage, u.Peak, u.Failures}
	if e.Limit == 0 {
		e.Limit = math.MaxUint64
	}
	return e
}

func newPSI(p *cgroup.Pressure) *psiStats {
	if p == nil {
		return nil
	}
	line := func(l cgroup.PressureLine) psiLine { return psiLine{l.Avg10, l.Avg60, l.Avg300, l.Total} }
	return &psiStats{line(p.Some), line(p.Full)}
}
