package cgroup

import (
	"fmt"
	"strings"

	"github.com/berth-runtime/berth/internal/sys"
)

// tick is the unit of cpuacct.stat, USER_HZ, which is 100 on all of Linux's current architectures.
const tick = 1e9 / 100

func (s *Stats) readCPUAcct(d *sys.Dir, _ bool) error {
	usage, err := readNumber(d, "cpuacct.usage")
	if err != nil {
		return err
	}
	stat, err := readFlat(d, "cpuacct.stat")
	s.cpu().UsageNS = usage
	s.cpu().UserNS, s.cpu().SystemNS = stat["user"]*tick, stat["system"]*tick
	return err
}

func (s *Stats) cpu() *CPUStats {
	if s.CPU == nil {
		s.CPU = &CPUStats{}
	}
	return s.CPU
}

func (s *Stats) readCPU(d *sys.Dir, v2 bool) error {
	stat, err := readFlat(d, "cpu.stat")
	c := s.cpu()
	c.Periods, c.ThrottledPeriods, c.Throttle = stat["nr_periods"], stat["nr_throttled"], stat["throttled_time"]
	if v2 {
		c.UsageNS, c.UserNS, c.SystemNS = stat["usage_usec"]*1000, stat["user_usec"]*1000, stat["system_usec"]*1000
		c.Throttle = stat["throttled_usec"] * 1000
	}
	return err
}

func (s *Stats) readMemory(d *sys.Dir, v2 bool) (err error) {
	m := &MemoryStats{}
	if v2 {
		err = m.readV2(d)
	} else {
		err = m.readV1(d)
	}
	if err != nil {
		return err
	}
	m.OOMKills, err = oomKills(d, v2)
	s.Memory = m
	return err
}

func (m *MemoryStats) readV1(d *sys.Dir) error {
	stat, err := readFlat(d, "memory.stat")
	if err != nil {
		return err
	}
	if m.Usage, err = readNumber(d, "memory.usage_in_bytes"); err != nil {
		return err
	}
	limit, err := readNumber(d, "memory.limit_in_bytes")
	if err != nil {
		return err
	}
	m.Limit = limitOf(limit)
	m.RSS, m.Cache, m.Swap = stat["total_rss"], stat["total_cache"], stat["total_swap"]
	m.PageFaults, m.MajorPageFaults = stat["total_pgfault"], stat["total_pgmajfault"]
	m.WorkingSet = m.Usage - min(m.Usage, stat["total_inactive_file"])
	memsw, err := readNumber(d, "memory.memsw.limit_in_bytes")
	if err == nil && m.Limit > 0 && limitOf(memsw) > m.Limit {
		m.SwapLimit = memsw - m.Limit
	}
	return optional(err)
}

func (m *MemoryStats) readV2(d *sys.Dir) error {
	stat, err := readFlat(d, "memory.stat")
	if err != nil {
		return err
	}
	if m.Usage, err = readNumber(d, "memory.current"); err != nil {
		return err
	}
	limit, err := readNumber(d, "memory.max")
	if err != nil {
		return err
	}
	m.Limit = limitOf(limit)
	m.RSS, m.Cache = stat["anon"], stat["file"]
	m.PageFaults, m.MajorPageFaults = stat["pgfault"], stat["pgmajfault"]
	m.WorkingSet = m.Usage - min(m.Usage, stat["inactive_file"])
	if m.Swap, err = readNumber(d, "memory.swap.current"); err != nil {
		return optional(err)
	}
	swap, err := readNumber(d, "memory.swap.max")
	m.SwapLimit = limitOf(swap)
	return optional(err)
}

func (s *Stats) readPIDs(d *sys.Dir, _ bool) error {
	current, err := readNumber(d, "pids.current")
	if err != nil {
		return err
	}
	limit, err := readNumber(d, "pids.max")
	s.PIDs = &PIDStats{Current: current, Limit: limitOf(limit)}
	return err
}

// readHugetlb finds the page sizes by the names of the files.
func (s *Stats) readHugetlb(d *sys.Dir, v2 bool) error {
	names, err := d.Names()
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	usage, limit := ".usage_in_bytes", ".limit_in_bytes"
	if v2 {
		usage, limit = ".current", ".max"
	}
	for _, name := range names {
		size, ok := strings.CutPrefix(strings.TrimSuffix(name, usage), "hugetlb.")
		if !ok || !strings.HasSuffix(name, usage) || !validPageSize(size) {
			continue
		}
		used, err := readNumber(d, name)
		if err != nil {
			return err
		}
		allowed, err := readNumber(d, "hugetlb."+size+limit)
		if err != nil {
			return err
		}
		if s.Hugetlb == nil {
			s.Hugetlb = map[string]HugetlbStats{}
		}
		h := HugetlbStats{Usage: used, Limit: limitOf(allowed), Failures: hugetlbFailures(d, size, v2)}
		if !v2 {
			if h.Peak, err = readNumber(d, "hugetlb."+size+".max_usage_in_bytes"); err != nil {
				return err
			}
		}
		s.Hugetlb[size] = h
	}
	return nil
}

// hugetlbFailures is a courtesy: a kernel that does not count them has none to tell.
func hugetlbFailures(d *sys.Dir, size string, v2 bool) uint64 {
	if v2 {
		events, err := readFlat(d, "hugetlb."+size+".events")
		if err != nil {
			return 0
		}
		return events["max"]
	}
	n, err := readNumber(d, "hugetlb."+size+".failcnt")
	if err != nil {
		return 0
	}
	return n
}

func (s *Stats) readBlkio(d *sys.Dir, _ bool) error {
	for _, table := range []struct {
		file    string
		isBytes bool
	}{{"blkio.throttle.io_service_bytes_recursive", true}, {"blkio.throttle.io_serviced_recursive", false}} {
		data, err := d.ReadFile(table.file, maxFile)
		if err != nil {
			if err := optional(err); err != nil {
				return fmt.Errorf("read %s: %w", table.file, err)
			}
			continue
		}
		s.IO = parseIOStatV1(s.IO, data, table.isBytes)
	}
	return nil
}

func (s *Stats) readIO(d *sys.Dir, _ bool) error {
	data, err := d.ReadFile("io.stat", maxFile)
	if err != nil {
		return optional(err)
	}
	s.IO = parseIOStatV2(data)
	return nil
}
