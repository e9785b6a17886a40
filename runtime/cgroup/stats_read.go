package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// Stats reads the group's counters. A group that exists in no hierarchy is errdefs.ErrNotFound.
func (g *Group) Stats() (Stats, error) {
	o := &openGroup{group: g, dirs: map[*hierarchy]*sys.Dir{}}
	var s Stats
	err := o.each(&s, statsParts())
	if err := errors.Join(err, o.close()); err != nil {
		return Stats{}, fmt.Errorf("read stats of cgroup %s: %w", g.Path(), err)
	}
	return s, nil
}

type statsPart struct {
	controller string
	read       func(*Stats, *sys.Dir, bool) error
}

func statsParts() []statsPart {
	return []statsPart{
		{"cpuacct", (*Stats).readCPUAcct},
		{"cpu", (*Stats).readCPU},
		{"memory", (*Stats).readMemory},
		{"pids", (*Stats).readPIDs},
		{"hugetlb", (*Stats).readHugetlb},
		{"blkio", (*Stats).readBlkio},
		{"io", (*Stats).readIO},
	}
}

// each reads the parts that this host has.
func (o *openGroup) each(s *Stats, parts []statsPart) error {
	found := false
	for _, part := range parts {
		v2, ok := o.group.host.isV2(part.controller)
		if !ok {
			continue
		}
		d, err := o.in(part.controller)
		if errors.Is(err, errdefs.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		found = true
		if err := part.read(s, d, v2); err != nil && !gone(err) {
			return err
		}
	}
	if !found {
		return errdefs.NotFound("it exists in no hierarchy")
	}
	return o.pressure(s)
}

// OOMKills counts the processes in the group and in its children that the OOM killer has ended for a group's limit.
func (g *Group) OOMKills() (uint64, error) {
	hi := g.host.byController["memory"]
	if hi == nil {
		return 0, errdefs.NotSupported("count OOM kills of cgroup %s: this host has no memory controller", g.Path())
	}
	d, err := g.open(hi)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, errdefs.New(errdefs.ErrNotFound, "count OOM kills: %w", err)
	}
	if err != nil {
		return 0, fmt.Errorf("count OOM kills: %w", err)
	}
	n, err := oomKills(d, hi.v2)
	if err := errors.Join(err, d.Close()); err != nil {
		return 0, fmt.Errorf("count OOM kills of cgroup %s: %w", g.Path(), err)
	}
	return n, nil
}

// oomKills reads memory.events, which counts children in; v1's memory.oom_control does not.
func oomKills(d *sys.Dir, v2 bool) (uint64, error) {
	if v2 {
		events, err := readFlat(d, "memory.events")
		return events["oom_kill"], err
	}
	var sum uint64
	err := walk(d, maxDepth, func(dir *sys.Dir) error {
		control, err := readFlat(dir, "memory.oom_control")
		sum += control["oom_kill"]
		return err
	})
	return sum, err
}

// optional turns "no such file" into "nothing to tell".
func optional(err error) error {
	if gone(err) {
		return nil
	}
	return err
}

// limitOf turns "no limit" into zero. v1's is a whole number of pages below 2^63.
func limitOf(n uint64) uint64 {
	if n >= 1<<62 {
		return 0
	}
	return n
}

// pressure adds PSI, which is in the cgroup2 folder whether or not a controller is there.
func (o *openGroup) pressure(s *Stats) error {
	hi := o.group.host.tracker
	if !hi.v2 {
		return nil
	}
	d, err := o.at(hi)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err == nil && s.CPU != nil {
		s.CPU.Pressure, err = readPressure(d, "cpu.pressure")
	}
	if err == nil && s.Memory != nil {
		s.Memory.Pressure, err = readPressure(d, "memory.pressure")
	}
	if err == nil {
		s.IOPressure, err = readPressure(d, "io.pressure")
	}
	return err
}

// readPressure returns nil where the file is missing, or PSI is switched off (EOPNOTSUPP).
func readPressure(d *sys.Dir, file string) (*Pressure, error) {
	data, err := d.ReadFile(file, maxFile)
	if gone(err) || errors.Is(err, syscall.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return parsePressure(data)
}
