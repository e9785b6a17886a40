package resctrl

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/sys"
)

// Stats are what resctrl tells of a group and of what can be shared out (filesystems/resctrl.rst in the kernel's
// documentation). What the processor can't do is nil.
type Stats struct {
	L3           *CacheInfo
	MB           *BandwidthInfo
	Machine, Own []string // lines of the default class's schemata and of the group's, without blanks around them
	Domains      []Domain // what is monitored, an entry for each L3 cache, in the kernel's order of names
}

// CacheInfo is how the L3 caches can be shared out.
type CacheInfo struct {
	Mask    string // all parts of a cache, as hexadecimal digits
	MinBits uint64 // fewest parts that a class can have
	Classes uint64 // how many classes there can be
}

// BandwidthInfo is how memory bandwidth can be shared out.
type BandwidthInfo struct {
	Granularity, Min uint64 // percent
	Linear           bool   // the delay is linear in the percentage
	Classes          uint64
}

// Domain is what a group's processes use in the reach of one L3 cache. A counter that there is not, or that the kernel can't
// read at the moment ("Unavailable"), is nil.
type Domain struct {
	Occupancy    *uint64 // bytes of the cache
	Total, Local *uint64 // bytes moved from and to all memory, and that of the same node, since the group was made
}

const (
	maxCounter = 4096 // bytes of a file with one value
	maxDomains = 4096 // more are none of the kernel's
)

// Stats reads them. Of a nil group they are nil.
func (g *Group) Stats() (*Stats, error) {
	if g == nil {
		return nil, nil
	}
	s := &Stats{}
	for _, read := range []func(*Stats) error{g.cacheInfo, g.bandwidthInfo, g.schemata, g.monitored} {
		if err := read(s); err != nil {
			return nil, fmt.Errorf("read statistics of resctrl: %w", err)
		}
	}
	return s, nil
}

// optional passes over what the machine does not have.
func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (g *Group) cacheInfo(s *Stats) error {
	return optional(g.fs.in("info/L3", func(d *sys.Dir) error {
		mask, err := value(d, "cbm_mask")
		if err != nil {
			return err
		}
		i := &CacheInfo{Mask: mask}
		if err := numbers(d, map[string]*uint64{"min_cbm_bits": &i.MinBits, "num_closids": &i.Classes}); err != nil {
			return err
		}
		s.L3 = i
		return nil
	}))
}

func (g *Group) bandwidthInfo(s *Stats) error {
	return optional(g.fs.in("info/MB", func(d *sys.Dir) error {
		var linear uint64
		i := &BandwidthInfo{}
		err := numbers(d, map[string]*uint64{
			"bandwidth_gran": &i.Granularity, "min_bandwidth": &i.Min, "num_closids": &i.Classes, "delay_linear": &linear,
		})
		if err != nil {
			return err
		}
		i.Linear = linear != 0
		s.MB = i
		return nil
	}))
}

func (g *Group) schemata(s *Stats) (err error) {
	if s.Machine, err = g.fs.schemata(""); err != nil {
		return err
	}
	s.Own, err = g.fs.schemata(g.class)
	return err
}

func (s *FS) schemata(class string) (lines []string, err error) {
	err = s.in(class, func(d *sys.Dir) error {
		data, err := d.ReadFile("schemata", maxSchemata)
		for line := range strings.Lines(string(data)) {
			lines = append(lines, strings.TrimSpace(line))
		}
		return err
	})
	return lines, err
}

// monitored reads the counters of the container's monitoring group, or else of its class.
func (g *Group) monitored(s *Stats) error {
	dir := g.class
	if g.mon {
		dir = path.Join(g.class, "mon_groups", g.id)
	}
	return optional(g.fs.in(path.Join(dir, "mon_data"), func(d *sys.Dir) error {
		names, err := d.Names()
		if err != nil {
			return err
		}
		slices.Sort(names)
		for _, name := range names[:min(len(names), maxDomains)] {
			if !strings.HasPrefix(name, "mon_L3_") {
				continue
			}
			one, err := domain(d, name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			s.Domains = append(s.Domains, one)
		}
		return nil
	}))
}

func domain(in *sys.Dir, name string) (out Domain, err error) {
	d, err := in.OpenDir(name)
	if err != nil {
		return out, err
	}
	for file, to := range map[string]**uint64{"llc_occupancy": &out.Occupancy, "mbm_total_bytes": &out.Total, "mbm_local_bytes": &out.Local} {
		text, readErr := value(d, file)
		err = errors.Join(err, optional(readErr))
		if n, parseErr := strconv.ParseUint(text, 10, 64); parseErr == nil {
			*to = &n
		}
	}
	return out, errors.Join(err, d.Close())
}

func value(d *sys.Dir, name string) (string, error) {
	data, err := d.ReadFile(name, maxCounter)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return strings.TrimSpace(string(data)), nil
}

func numbers(d *sys.Dir, to map[string]*uint64) error {
	for name, n := range to {
		text, err := value(d, name)
		if err != nil {
			return err
		}
		if *n, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
