package rpc

import (
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/stats"
)

func encodeContainerStats(c pod.ContainerStats) *runtimeapi.ContainerStats {
	at := nanos(c.Stats.At)
	return &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{
			Id:          c.Status.ID,
			Metadata:    encodeContainerMetadata(c.Status.Config),
			Labels:      c.Status.Config.Labels,
			Annotations: c.Status.Config.Annotations,
		},
		Cpu:           encodeCPU(at, c.Stats.CPU),
		Memory:        encodeMemory(at, c.Stats.Memory),
		Swap:          encodeSwap(at, c.Stats.Memory),
		Io:            encodeIO(at, c.Stats.IO),
		WritableLayer: encodeFilesystem(c.Stats.Filesystem),
	}
}

func encodePodStats(p pod.PodStats) *runtimeapi.PodSandboxStats {
	total := p.Stats.Total
	at := nanos(total.At)
	return &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{
			Id:          p.Status.ID,
			Metadata:    encodePodMetadata(p.Status.Config),
			Labels:      p.Status.Config.Labels,
			Annotations: p.Status.Config.Annotations,
		},
		Linux: &runtimeapi.LinuxPodSandboxStats{
			Cpu:        encodeCPU(at, total.CPU),
			Memory:     encodeMemory(at, total.Memory),
			Network:    encodeNetwork(p.Stats),
			Process:    &runtimeapi.ProcessUsage{Timestamp: at, ProcessCount: value(total.Pids.Current)},
			Io:         encodeIO(at, total.IO),
			Containers: encodeAllStats(p.Containers),
		},
	}
}

func value(v uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: v} }

func encodeCPU(at int64, c stats.CPU) *runtimeapi.CpuUsage {
	out := &runtimeapi.CpuUsage{Timestamp: at, UsageCoreNanoSeconds: value(c.Usage), Psi: encodePSI(c.PSI)}
	if c.NanoCores != nil {
		out.UsageNanoCores = value(*c.NanoCores)
	}
	return out
}

func encodeMemory(at int64, m stats.Memory) *runtimeapi.MemoryUsage {
	out := &runtimeapi.MemoryUsage{
		Timestamp:       at,
		WorkingSetBytes: value(m.WorkingSet),
		UsageBytes:      value(m.Usage),
		RssBytes:        value(m.Anon),
		PageFaults:      value(m.PageFaults),
		MajorPageFaults: value(m.MajorFaults),
		Psi:             encodePSI(m.PSI),
	}
	if m.Limit > 0 {
		out.AvailableBytes = value(m.Limit - min(m.WorkingSet, m.Limit))
	}
	return out
}

func encodeSwap(at int64, m stats.Memory) *runtimeapi.SwapUsage {
	out := &runtimeapi.SwapUsage{Timestamp: at, SwapUsageBytes: value(m.Swap)}
	if m.SwapLimit > 0 {
		out.SwapAvailableBytes = value(m.SwapLimit - min(m.Swap, m.SwapLimit))
	}
	return out
}

func encodeIO(at int64, io stats.IO) *runtimeapi.IoUsage {
	if io.PSI == nil {
		return nil
	}
	return &runtimeapi.IoUsage{Timestamp: at, Psi: encodePSI(io.PSI)}
}

func encodePSI(p *stats.PSI) *runtimeapi.PsiStats {
	if p == nil {
		return nil
	}
	data := func(p stats.Pressure) *runtimeapi.PsiData {
		return &runtimeapi.PsiData{Total: p.Total, Avg10: p.Avg10, Avg60: p.Avg60, Avg300: p.Avg300}
	}
	return &runtimeapi.PsiStats{Full: data(p.Full), Some: data(p.Some)}
}

func encodeFilesystem(f *stats.Filesystem) *runtimeapi.FilesystemUsage {
	if f == nil {
		return nil
	}
	return &runtimeapi.FilesystemUsage{
		Timestamp:  nanos(f.At),
		FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: f.Mountpoint},
		UsedBytes:  value(f.Bytes),
		InodesUsed: value(f.Inodes),
	}
}

// encodeNetwork is nil for a pod in the host's network, which has no counters of its own.
func encodeNetwork(p stats.Pod) *runtimeapi.NetworkUsage {
	if len(p.Interfaces) == 0 {
		return nil
	}
	out := &runtimeapi.NetworkUsage{Timestamp: nanos(p.NetworkAt)}
	for i, n := range p.Interfaces {
		usage := &runtimeapi.NetworkInterfaceUsage{
			Name: n.Name, RxBytes: value(n.RxBytes), RxErrors: value(n.RxErrors), TxBytes: value(n.TxBytes), TxErrors: value(n.TxErrors),
		}
		if i == 0 {
			out.DefaultInterface = usage
			continue
		}
		out.Interfaces = append(out.Interfaces, usage)
	}
	return out
}
