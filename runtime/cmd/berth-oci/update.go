package main

import (
	"context"
	"encoding/json"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// limits are the flags of update. Only those that are given change something.
type limits struct {
	file                                                string
	blkioWeight                                         uint16
	cpuPeriod, cpuShare, cpuRTPeriod, cpuBurst          uint64
	cpuQuota, cpuRTRuntime, cpuIdle                     int64
	cpus, mems                                          string
	memory, memoryReservation, memorySwap, kernelMemory string
	pids                                                int64
	l3CacheSchema, memBwSchema                          string
}

func updateCommand() *command {
	var l limits
	c := newCommand("update", "CONTAINER", "change the limits of a container", 1, 1)
	f := c.flags
	f.StringVarP(&l.file, "resources", "r", "", "file with linux.resources as in config.json, - for standard input; instead of the other flags")
	f.Uint16Var(&l.blkioWeight, "blkio-weight", 0, "weight of block I/O, 10 to 1000")
	f.Uint64Var(&l.cpuPeriod, "cpu-period", 0, "CFS period in microseconds")
	f.Int64Var(&l.cpuQuota, "cpu-quota", 0, "CFS quota in microseconds a period, -1 for none")
	f.Uint64Var(&l.cpuBurst, "cpu-burst", 0, "CFS burst in microseconds")
	f.Uint64Var(&l.cpuShare, "cpu-share", 0, "CPU shares")
	f.Uint64Var(&l.cpuRTPeriod, "cpu-rt-period", 0, "realtime period in microseconds")
	f.Int64Var(&l.cpuRTRuntime, "cpu-rt-runtime", 0, "realtime quota in microseconds a period")
	f.Int64Var(&l.cpuIdle, "cpu-idle", 0, "1: run only when nothing else wants to")
	f.StringVar(&l.cpus, "cpuset-cpus", "", "CPUs to use")
	f.StringVar(&l.mems, "cpuset-mems", "", "memory nodes to use")
	f.StringVar(&l.memory, "memory", "", "memory limit in bytes, -1 for none")
	f.StringVar(&l.memoryReservation, "memory-reservation", "", "soft memory limit in bytes")
	f.StringVar(&l.memorySwap, "memory-swap", "", "limit of memory and swap in bytes, -1 for none")
	f.StringVar(&l.kernelMemory, "kernel-memory", "", "ignored, as the kernel does (since Linux 5.16)")
	f.Int64Var(&l.pids, "pids-limit", 0, "number of processes, -1 for no limit")
	f.StringVar(&l.l3CacheSchema, "l3-cache-schema", "", "line of resctrl for the L3 cache, L3:0=f;1=ff, for the class of service of a container that has linux.intelRdt")
	f.StringVar(&l.memBwSchema, "mem-bw-schema", "", "the same for memory bandwidth, MB:0=20")
	c.run = func(ctx context.Context, a *app, args []string) error {
		r, err := l.resources(f)
		if err != nil {
			return err
		}
		return a.runtime.Update(ctx, args[0], r, l.intelRdt())
	}
	return c
}

const maxResources = 1 << 20

func (l *limits) resources(f *pflag.FlagSet) (*specs.LinuxResources, error) {
	if l.file != "" {
		data, err := readFile(l.file, maxResources)
		if err != nil {
			return nil, err
		}
		var r specs.LinuxResources
		if err := json.Unmarshal(data, &r); err != nil {
			return nil, errdefs.Invalid("resources in %s: %w", l.file, err)
		}
		return &r, nil
	}
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: l.cpus, Mems: l.mems}, Memory: &specs.LinuxMemory{}}
	c := r.CPU
	given(f, "cpu-period", &c.Period, l.cpuPeriod)
	given(f, "cpu-quota", &c.Quota, l.cpuQuota)
	given(f, "cpu-burst", &c.Burst, l.cpuBurst)
	given(f, "cpu-share", &c.Shares, l.cpuShare)
	given(f, "cpu-rt-period", &c.RealtimePeriod, l.cpuRTPeriod)
	given(f, "cpu-rt-runtime", &c.RealtimeRuntime, l.cpuRTRuntime)
	given(f, "cpu-idle", &c.Idle, l.cpuIdle)
	if f.Changed("blkio-weight") {
		r.BlockIO = &specs.LinuxBlockIO{Weight: &l.blkioWeight}
	}
	if f.Changed("pids-limit") {
		r.Pids = &specs.LinuxPids{Limit: &l.pids}
	}
	for _, m := range []struct {
		flag, text string
		to         **int64
	}{
		{"memory", l.memory, &r.Memory.Limit},
		{"memory-reservation", l.memoryReservation, &r.Memory.Reservation},
		{"memory-swap", l.memorySwap, &r.Memory.Swap},
	} {
		if !f.Changed(m.flag) {
			continue
		}
		n, err := parseBytes(m.text)
		if err != nil {
			return nil, errdefs.Invalid("--%s: %w", m.flag, err)
		}
		*m.to = &n
	}
	return r, nil
}

// intelRdt is nil if it is not to change.
func (l *limits) intelRdt() *specs.LinuxIntelRdt {
	if l.l3CacheSchema == "" && l.memBwSchema == "" {
		return nil
	}
	return &specs.LinuxIntelRdt{L3CacheSchema: l.l3CacheSchema, MemBwSchema: l.memBwSchema}
}

// given sets a field whose flag was used.
func given[T any](f *pflag.FlagSet, flag string, to **T, value T) {
	if f.Changed(flag) {
		*to = &value
	}
}
