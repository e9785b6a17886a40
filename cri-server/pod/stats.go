package pod

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/berth-runtime/berth/cri-server/stats"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/cgroup"
)

// ContainerStats is a measurement of a container.
type ContainerStats struct {
	Status ContainerStatus
	Stats  stats.Container
}

// PodStats is a measurement of a pod and of its running containers.
type PodStats struct {
	Status     PodStatus
	Stats      stats.Pod
	Containers []ContainerStats
}

// ContainerStats measures a container. One that does not run has only what its writable layer takes.
func (m *Manager) ContainerStats(ctx context.Context, id string) (ContainerStats, error) {
	status, err := m.Container(ctx, id)
	if err != nil {
		return ContainerStats{}, fmt.Errorf("measure: %w", err)
	}
	return m.measureContainer(ctx, status)
}

// ListContainerStats measures the containers that a filter selects. One that goes away meanwhile is left out.
func (m *Manager) ListContainerStats(ctx context.Context, f ContainerFilter) ([]ContainerStats, error) {
	return measureAll(ctx, m.Containers(ctx, f), m.measureContainer)
}

// PodStats measures a pod; ErrNotFound if there is none.
func (m *Manager) PodStats(ctx context.Context, id string) (PodStats, error) {
	status, err := m.Pod(ctx, id)
	if err != nil {
		return PodStats{}, fmt.Errorf("measure: %w", err)
	}
	return m.measurePod(ctx, status)
}

// ListPodStats measures the pods that a filter selects. One that goes away meanwhile is left out.
func (m *Manager) ListPodStats(ctx context.Context, f PodFilter) ([]PodStats, error) {
	return measureAll(ctx, m.Pods(ctx, f), m.measurePod)
}

func measureAll[Status, Stats any](ctx context.Context, all []Status, measure func(context.Context, Status) (Stats, error)) ([]Stats, error) {
	var list []Stats
	for _, status := range all {
		s, err := measure(ctx, status)
		if errors.Is(err, errdefs.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func (m *Manager) measureContainer(ctx context.Context, status ContainerStatus) (ContainerStats, error) {
	out := ContainerStats{Status: status, Stats: stats.Container{At: time.Now()}}
	if status.State == ContainerRunning {
		raw, err := m.cfg.Runtime.Stats(ctx, status.ID)
		if err != nil && !errors.Is(err, errdefs.ErrNotFound) {
			return out, fmt.Errorf("measure container %s: %w", status.ID, err)
		}
		if err == nil {
			out.Stats = m.convert(status.ID, raw)
		}
	}
	layer, err := m.layers.Get(ctx, status.ID, func(ctx context.Context) (stats.Filesystem, error) {
		usage, err := m.cfg.Images.Usage(ctx, status.SnapshotID)
		return stats.Filesystem{At: time.Now(), Bytes: usage.Bytes, Inodes: usage.Inodes, Mountpoint: m.cfg.Volumes}, err
	})
	if err != nil {
		return out, fmt.Errorf("measure the writable layer of container %s: %w", status.ID, err)
	}
	out.Stats.Filesystem = layer
	return out, nil
}

func (m *Manager) measurePod(ctx context.Context, status PodStatus) (PodStats, error) {
	out := PodStats{Status: status, Stats: stats.Pod{ID: status.ID, Total: stats.Container{At: time.Now()}}}
	var err error
	running := ContainerFilter{PodID: status.ID, States: []ContainerState{ContainerRunning}}
	if out.Containers, err = m.ListContainerStats(ctx, running); err != nil {
		return out, err
	}
	if !status.Ready() {
		return out, nil
	}
	raw, err := m.cfg.Cgroups.Stats(status.Cgroup)
	if err != nil && !errors.Is(err, errdefs.ErrNotFound) {
		return out, fmt.Errorf("measure pod %s: %w", status.ID, err)
	}
	if err == nil {
		out.Stats.Total = m.convert(status.ID, raw)
	}
	if status.Netns == "" {
		return out, nil
	}
	out.Stats.NetworkAt = time.Now()
	out.Stats.Interfaces, err = m.cfg.Namespaces.Counters(status.Netns)
	if err != nil && !errors.Is(err, errdefs.ErrNotFound) {
		return out, fmt.Errorf("measure the network of pod %s: %w", status.ID, err)
	}
	return out, nil
}

// convert turns the counters of a cgroup into values, and adds the rate since the measurement before.
func (m *Manager) convert(key string, raw cgroup.Stats) stats.Container {
	out := stats.Container{At: time.Now()}
	if c := raw.CPU; c != nil {
		out.CPU = stats.CPU{
			Usage: c.UsageNS, User: c.UserNS, System: c.SystemNS, NanoCores: m.rates.Sample(key, out.At, c.UsageNS),
			Periods: c.Periods, ThrottledPeriods: c.ThrottledPeriods, ThrottledTime: c.Throttle, PSI: pressure(c.Pressure),
		}
	}
	if mem := raw.Memory; mem != nil {
		out.Memory = stats.Memory{
			Usage: mem.Usage, WorkingSet: mem.WorkingSet, Limit: mem.Limit, Anon: mem.RSS, Cache: mem.Cache,
			PageFaults: mem.PageFaults, MajorFaults: mem.MajorPageFaults, Swap: mem.Swap, SwapLimit: mem.SwapLimit,
			PSI: pressure(mem.Pressure),
		}
		out.OOMKills = mem.OOMKills
	}
	if p := raw.PIDs; p != nil {
		out.Pids = stats.Pids{Current: p.Current, Limit: p.Limit}
	}
	for _, size := range slices.Sorted(maps.Keys(raw.Hugetlb)) {
		h := raw.Hugetlb[size]
		out.Hugetlb = append(out.Hugetlb, stats.Hugetlb{PageSize: size, Usage: h.Usage, MaxUsage: max(h.Peak, h.Usage)})
	}
	out.IO.PSI = pressure(raw.IOPressure)
	for _, d := range raw.IO {
		out.IO.Devices = append(out.IO.Devices, stats.DeviceIO{
			Major: uint64(d.Major), Minor: uint64(d.Minor),
			ReadBytes: d.ReadBytes, WriteBytes: d.WriteBytes, ReadOps: d.ReadOps, WriteOps: d.WriteOps,
		})
	}
	return out
}

// pressure converts the kernel's microseconds to CRI's nanoseconds.
func pressure(p *cgroup.Pressure) *stats.PSI {
	if p == nil {
		return nil
	}
	line := func(l cgroup.PressureLine) stats.Pressure {
		return stats.Pressure{Total: l.Total * 1000, Avg10: l.Avg10, Avg60: l.Avg60, Avg300: l.Avg300}
	}
	return &stats.PSI{Some: line(p.Some), Full: line(p.Full)}
}
