package rpc

import (
	"fmt"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/cri-server/stats"
)

// metric is one name. CRI's values are whole numbers, so what counts seconds counts whole ones.
type metric struct {
	name   string
	kind   runtimeapi.MetricType
	labels []string // besides commonLabels
	help   string
	read   func(measured) []sample
}

type sample struct {
	value  uint64
	labels []string // values for metric.labels
}

// measured is one cgroup at one moment.
type measured struct {
	at         int64
	stats      stats.Container
	resources  *spec.Resources // nil: none were asked for
	startedAt  time.Time
	interfaces []stats.Network // of a pod
	labels     []string        // values for commonLabels
}

const (
	counter = runtimeapi.MetricType_COUNTER
	gauge   = runtimeapi.MetricType_GAUGE
)

// commonLabels are those by which the kubelet's own metrics of containers are found in dashboards.
func commonLabels() []string { return []string{"container", "id", "image", "name", "namespace", "pod"} }

func one(read func(stats.Container) uint64) func(measured) []sample {
	return func(m measured) []sample { return []sample{{value: read(m.stats)}} }
}

func seconds64(nanoseconds uint64) uint64 { return nanoseconds / uint64(time.Second) }

// groupMetrics are measured of a container's cgroup and of a pod's.
func groupMetrics() []metric {
	return append(append(cpuMetrics(), memoryMetrics()...), append(ioMetrics(), pressureMetrics()...)...)
}

func cpuMetrics() []metric {
	return []metric{
		{"container_cpu_usage_seconds_total", counter, nil, "CPU time consumed, in seconds", one(func(c stats.Container) uint64 { return seconds64(c.CPU.Usage) })},
		{"container_cpu_user_seconds_total", counter, nil, "CPU time consumed in user mode, in seconds", one(func(c stats.Container) uint64 { return seconds64(c.CPU.User) })},
		{"container_cpu_system_seconds_total", counter, nil, "CPU time consumed in the kernel, in seconds", one(func(c stats.Container) uint64 { return seconds64(c.CPU.System) })},
		{"container_cpu_cfs_periods_total", counter, nil, "Enforcement periods that passed", one(func(c stats.Container) uint64 { return c.CPU.Periods })},
		{"container_cpu_cfs_throttled_periods_total", counter, nil, "Enforcement periods in which tasks were throttled", one(func(c stats.Container) uint64 { return c.CPU.ThrottledPeriods })},
		{"container_cpu_cfs_throttled_seconds_total", counter, nil, "Time for which tasks were throttled, in seconds", one(func(c stats.Container) uint64 { return seconds64(c.CPU.ThrottledTime) })},
		{"container_processes", gauge, nil, "Tasks in the cgroup", one(func(c stats.Container) uint64 { return c.Pids.Current })},
		{"container_threads", gauge, nil, "Tasks in the cgroup", one(func(c stats.Container) uint64 { return c.Pids.Current })},
		{"container_threads_max", gauge, nil, "Limit of tasks in the cgroup; 0 for none", one(func(c stats.Container) uint64 { return c.Pids.Limit })},
	}
}

func memoryMetrics() []metric {
	return []metric{
		{"container_memory_usage_bytes", gauge, nil, "Memory in use, page cache included", one(func(c stats.Container) uint64 { return c.Memory.Usage })},
		{"container_memory_working_set_bytes", gauge, nil, "Memory in use without inactive page cache", one(func(c stats.Container) uint64 { return c.Memory.WorkingSet })},
		{"container_memory_max_usage_bytes", gauge, nil, "Most memory that was ever in use", one(func(c stats.Container) uint64 { return c.Memory.MaxUsage })},
		{"container_memory_rss", gauge, nil, "Anonymous memory", one(func(c stats.Container) uint64 { return c.Memory.Anon })},
		{"container_memory_cache", gauge, nil, "Page cache", one(func(c stats.Container) uint64 { return c.Memory.Cache })},
		{"container_memory_mapped_file", gauge, nil, "Files mapped into memory", one(func(c stats.Container) uint64 { return c.Memory.MappedFile })},
		{"container_memory_kernel_usage", gauge, nil, "Memory of the kernel", one(func(c stats.Container) uint64 { return c.Memory.Kernel })},
		{"container_memory_swap", gauge, nil, "Swap in use", one(func(c stats.Container) uint64 { return c.Memory.Swap })},
		{"container_memory_failcnt", counter, nil, "Times that the limit of memory was hit", one(func(c stats.Container) uint64 { return c.Memory.Failures })},
		{"container_memory_failures_total", counter, []string{"failure_type", "scope"}, "Page faults by type", func(m measured) []sample {
			return []sample{
				{m.stats.Memory.PageFaults, []string{"pgfault", "container"}},
				{m.stats.Memory.MajorFaults, []string{"pgmajfault", "container"}},
			}
		}},
		{"container_oom_events_total", counter, nil, "Tasks that the kernel killed for lack of memory", one(func(c stats.Container) uint64 { return c.OOMKills })},
		{"container_hugetlb_usage_bytes", gauge, []string{"pagesize"}, "Huge pages in use, in bytes", hugepagesOf(func(h stats.Hugetlb) uint64 { return h.Usage })},
		{"container_hugetlb_max_usage_bytes", gauge, []string{"pagesize"}, "Most huge pages that were ever in use, in bytes", hugepagesOf(func(h stats.Hugetlb) uint64 { return h.MaxUsage })},
	}
}

func hugepagesOf(read func(stats.Hugetlb) uint64) func(measured) []sample {
	return func(m measured) (out []sample) {
		for _, h := range m.stats.Hugetlb {
			out = append(out, sample{read(h), []string{h.PageSize}})
		}
		return out
	}
}

func ioMetrics() []metric {
	device := []string{"device"}
	return []metric{
		{"container_fs_reads_bytes_total", counter, device, "Bytes read from block devices", devicesOf(func(d stats.DeviceIO) uint64 { return d.ReadBytes })},
		{"container_fs_writes_bytes_total", counter, device, "Bytes written to block devices", devicesOf(func(d stats.DeviceIO) uint64 { return d.WriteBytes })},
		{"container_fs_reads_total", counter, device, "Reads from block devices", devicesOf(func(d stats.DeviceIO) uint64 { return d.ReadOps })},
		{"container_fs_writes_total", counter, device, "Writes to block devices", devicesOf(func(d stats.DeviceIO) uint64 { return d.WriteOps })},
	}
}

func devicesOf(read func(stats.DeviceIO) uint64) func(measured) []sample {
	return func(m measured) (out []sample) {
		for _, d := range m.stats.IO.Devices {
			out = append(out, sample{read(d), []string{fmt.Sprintf("%d:%d", d.Major, d.Minor)}})
		}
		return out
	}
}

// pressureMetrics are empty where the kernel does not count pressure for the cgroup.
func pressureMetrics() []metric {
	psi := func(pick func(stats.Container) *stats.PSI, full bool) func(measured) []sample {
		return func(m measured) []sample {
			p := pick(m.stats)
			switch {
			case p == nil:
				return nil
			case full:
				return []sample{{value: seconds64(p.Full.Total)}}
			}
			return []sample{{value: seconds64(p.Some.Total)}}
		}
	}
	cpu := func(c stats.Container) *stats.PSI { return c.CPU.PSI }
	memory := func(c stats.Container) *stats.PSI { return c.Memory.PSI }
	io := func(c stats.Container) *stats.PSI { return c.IO.PSI }
	return []metric{
		{"container_pressure_cpu_waiting_seconds_total", counter, nil, "Time for which tasks waited for a CPU, in seconds", psi(cpu, false)},
		{"container_pressure_cpu_stalled_seconds_total", counter, nil, "Time for which all tasks waited for a CPU, in seconds", psi(cpu, true)},
		{"container_pressure_memory_waiting_seconds_total", counter, nil, "Time for which tasks waited for memory, in seconds", psi(memory, false)},
		{"container_pressure_memory_stalled_seconds_total", counter, nil, "Time for which all tasks waited for memory, in seconds", psi(memory, true)},
		{"container_pressure_io_waiting_seconds_total", counter, nil, "Time for which tasks waited for disks, in seconds", psi(io, false)},
		{"container_pressure_io_stalled_seconds_total", counter, nil, "Time for which all tasks waited for disks, in seconds", psi(io, true)},
	}
}

// containerMetrics are measured of containers only.
func containerMetrics() []metric {
	limit := func(read func(spec.Resources) int64) func(measured) []sample {
		return func(m measured) []sample {
			if m.resources == nil {
				return []sample{{}}
			}
			return []sample{{value: uint64(max(read(*m.resources), 0))}} // -1 is no limit, as 0 is
		}
	}
	return []metric{
		{"container_start_time_seconds", gauge, nil, "When the container started, in seconds since 1970", func(m measured) []sample {
			if m.startedAt.IsZero() {
				return nil
			}
			return []sample{{value: uint64(m.startedAt.Unix())}}
		}},
		{"container_last_seen", gauge, nil, "When the container was measured, in seconds since 1970", func(m measured) []sample {
			return []sample{{value: seconds64(uint64(m.at))}}
		}},
		{"container_spec_cpu_period", gauge, nil, "Enforcement period, in microseconds", limit(func(r spec.Resources) int64 { return r.CPUPeriod })},
		{"container_spec_cpu_quota", gauge, nil, "CPU time in a period, in microseconds; 0 for no limit", limit(func(r spec.Resources) int64 { return r.CPUQuota })},
		{"container_spec_cpu_shares", gauge, nil, "Weight in the distribution of CPU time", limit(func(r spec.Resources) int64 { return r.CPUShares })},
		{"container_spec_memory_limit_bytes", gauge, nil, "Limit of memory; 0 for none", limit(func(r spec.Resources) int64 { return r.Memory })},
		{"container_spec_memory_swap_limit_bytes", gauge, nil, "Limit of memory and swap together; 0 for none", limit(func(r spec.Resources) int64 { return r.MemorySwap })},
		{"container_fs_usage_bytes", gauge, []string{"device"}, "Bytes that the container has written to its root", func(m measured) []sample {
			if f := m.stats.Filesystem; f != nil {
				return []sample{{f.Bytes, []string{f.Mountpoint}}}
			}
			return nil
		}},
	}
}

// podMetrics are measured of pods only.
func podMetrics() []metric {
	var table []metric
	for _, n := range []struct {
		name, help string
		read       func(stats.Network) uint64
	}{
		{"receive_bytes", "Bytes received", func(n stats.Network) uint64 { return n.RxBytes }},
		{"receive_packets", "Packets received", func(n stats.Network) uint64 { return n.RxPackets }},
		{"receive_errors", "Errors while receiving", func(n stats.Network) uint64 { return n.RxErrors }},
		{"receive_packets_dropped", "Packets dropped while receiving", func(n stats.Network) uint64 { return n.RxDropped }},
		{"transmit_bytes", "Bytes sent", func(n stats.Network) uint64 { return n.TxBytes }},
		{"transmit_packets", "Packets sent", func(n stats.Network) uint64 { return n.TxPackets }},
		{"transmit_errors", "Errors while sending", func(n stats.Network) uint64 { return n.TxErrors }},
		{"transmit_packets_dropped", "Packets dropped while sending", func(n stats.Network) uint64 { return n.TxDropped }},
	} {
		table = append(table, metric{"container_network_" + n.name + "_total", counter, []string{"interface"}, n.help, func(m measured) (out []sample) {
			for _, i := range m.interfaces {
				out = append(out, sample{n.read(i), []string{i.Name}})
			}
			return out
		}})
	}
	return table
}
