package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Details are Stats with what is too dear, or of too little use, to be read at every look at a node's containers: all that
// the events command of an OCI runtime shows.
type Details struct {
	Stats
	CPUSet CPUSet
	PerCPU []CPUTime // by CPU number; v1 only
	Bursts Bursts

	MemoryRaw  map[string]uint64 // memory.stat
	MemoryUse  MemoryUse
	MemorySwap MemoryUse // memory and swap together; v1 only
	SwapUse    MemoryUse // swap alone; v2 only
	Kernel     MemoryUse // part of MemoryUse
	KernelTCP  MemoryUse // v1 only

	RDMA map[string]map[string]RDMAUse // by device and resource ("hca_handle")
	Misc map[string]MiscUse            // by resource; v2 only
}

// CPUSet holds lists in the kernel's spelling, "0-3,7": what may be used in effect.
type CPUSet struct{ CPUs, Mems string }

// CPUTime is in nanoseconds.
type CPUTime struct{ UserNS, SystemNS uint64 }

// Bursts are periods in which saved-up time was used (Linux 5.14).
type Bursts struct{ Periods, TimeNS uint64 }

// MemoryUse is in bytes; Limit is 0 where there is none, Failures counts how often it was met.
type MemoryUse struct{ Usage, Peak, Limit, Failures uint64 }

// RDMAUse is in counts; Limit is 0 where there is none.
type RDMAUse struct{ Current, Limit uint64 }

// MiscUse is in the resource's own unit; Events counts how often the limit was met.
type MiscUse struct{ Current, Events uint64 }

// Details reads all counters of the group. A group that exists in no hierarchy is errdefs.ErrNotFound.
func (g *Group) Details() (Details, error) {
	o := &openGroup{group: g, dirs: map[*hierarchy]*sys.Dir{}}
	var d Details
	err := o.each(&d.Stats, statsParts())
	if err == nil {
		err = o.details(&d)
	}
	if err := errors.Join(err, o.close()); err != nil {
		return Details{}, fmt.Errorf("read details of cgroup %s: %w", g.Path(), err)
	}
	return d, nil
}

func (o *openGroup) details(d *Details) error {
	for _, part := range []struct {
		controller string
		read       func(dir *sys.Dir, v2 bool) error
	}{
		{"cpuacct", d.readPerCPU},
		{"cpu", d.readBursts},
		{"cpuset", d.readCPUSet},
		{"memory", d.readMemoryDetails},
		{"rdma", d.readRDMA},
		{"misc", d.readMisc},
	} {
		v2, ok := o.group.host.isV2(part.controller)
		if !ok {
			continue
		}
		dir, err := o.in(part.controller)
		if errors.Is(err, errdefs.ErrNotFound) {
			continue
		}
		if err == nil {
			err = optional(part.read(dir, v2))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Details) readPerCPU(dir *sys.Dir, _ bool) error {
	data, err := dir.ReadFile("cpuacct.usage_all", maxFile)
	if err != nil {
		return fmt.Errorf("read cpuacct.usage_all: %w", err)
	}
	d.PerCPU, err = parseUsageAll(data)
	return err
}

// parseUsageAll reads a table of "cpu user system" under a heading.
func parseUsageAll(data []byte) (list []CPUTime, err error) {
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) != 3 || fields[0] == "cpu" {
			continue
		}
		user, err1 := strconv.ParseUint(fields[1], 10, 64)
		system, err2 := strconv.ParseUint(fields[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, errdefs.New(errdefs.ErrInvalid, "parse cpuacct.usage_all: %w", err)
		}
		list = append(list, CPUTime{user, system})
	}
	return list, nil
}

func (d *Details) readBursts(dir *sys.Dir, v2 bool) error {
	stat, err := readFlat(dir, "cpu.stat")
	d.Bursts = Bursts{stat["nr_bursts"], stat["burst_time"]}
	if v2 {
		d.Bursts.TimeNS = stat["burst_usec"] * 1000
	}
	return err
}

func (d *Details) readCPUSet(dir *sys.Dir, v2 bool) error {
	name := func(what string) string {
		if v2 {
			return "cpuset." + what + ".effective"
		}
		return "cpuset.effective_" + what
	}
	for what, to := range map[string]*string{"cpus": &d.CPUSet.CPUs, "mems": &d.CPUSet.Mems} {
		data, err := dir.ReadFile(name(what), maxFile)
		if err != nil {
			return fmt.Errorf("read %s: %w", name(what), err)
		}
		*to = string(bytes.TrimSpace(data))
	}
	return nil
}

func (d *Details) readRDMA(dir *sys.Dir, _ bool) error {
	current, err := dir.ReadFile("rdma.current", maxFile)
	if err != nil {
		return fmt.Errorf("read rdma.current: %w", err)
	}
	limits, err := dir.ReadFile("rdma.max", maxFile)
	if err != nil {
		return fmt.Errorf("read rdma.max: %w", err)
	}
	d.RDMA = map[string]map[string]RDMAUse{}
	allowed := parseRDMA(limits)
	for dev, counts := range parseRDMA(current) {
		d.RDMA[dev] = map[string]RDMAUse{}
		for what, n := range counts {
			d.RDMA[dev][what] = RDMAUse{Current: n, Limit: limitOf(allowed[dev][what])}
		}
	}
	return nil
}

// parseRDMA reads "mlx4_0 hca_handle=2 hca_object=max" (Documentation/admin-guide/cgroup-v2.rst, "RDMA").
func parseRDMA(data []byte) map[string]map[string]uint64 {
	all := map[string]map[string]uint64{}
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 {
			continue
		}
		counts := map[string]uint64{}
		for _, f := range fields[1:] {
			what, value, _ := strings.Cut(f, "=")
			if n, err := parseNumber(value); err == nil {
				counts[what] = n
			}
		}
		all[fields[0]] = counts
	}
	return all
}

func (d *Details) readMisc(dir *sys.Dir, _ bool) error {
	current, err := readFlat(dir, "misc.current")
	if err != nil {
		return err
	}
	events, err := readFlat(dir, "misc.events")
	if err := optional(err); err != nil { // Linux 5.17
		return err
	}
	d.Misc = map[string]MiscUse{}
	for what, n := range current {
		d.Misc[what] = MiscUse{Current: n, Events: events[what+".max"]}
	}
	return nil
}
