package main

import (
	"strings"

	"github.com/berth-runtime/berth/runtime/resctrl"
)

// rdtStats are the counters of shared caches and memory bandwidth. Sizes are in bytes.
type rdtStats struct {
	L3Info      *l3Info       `json:"l3_cache_info,omitempty"`
	L3Machine   string        `json:"l3_cache_schema_root,omitempty"`
	L3Own       string        `json:"l3_cache_schema,omitempty"`
	MBInfo      *mbInfo       `json:"mem_bw_info,omitempty"`
	MBMachine   string        `json:"mem_bw_schema_root,omitempty"`
	MBOwn       string        `json:"mem_bw_schema,omitempty"`
	Bandwidth   []mbStats     `json:"mbm_stats,omitempty"`
	Occupancies []occupyStats `json:"cmt_stats,omitempty"`
}

type l3Info struct {
	Mask    string `json:"cbm_mask,omitempty"`
	MinBits uint64 `json:"min_cbm_bits,omitempty"`
	Classes uint64 `json:"num_closids,omitempty"`
}

type mbInfo struct {
	Granularity uint64 `json:"bandwidth_gran,omitempty"`
	Linear      uint64 `json:"delay_linear,omitempty"`
	Min         uint64 `json:"min_bandwidth,omitempty"`
	Classes     uint64 `json:"num_closids,omitempty"`
}

type mbStats struct {
	Total uint64 `json:"mbm_total_bytes,omitempty"`
	Local uint64 `json:"mbm_local_bytes,omitempty"`
}

type occupyStats struct {
	Bytes uint64 `json:"llc_occupancy,omitempty"`
}

func newRDT(s *resctrl.Stats) (out rdtStats) {
	if s == nil {
		return out
	}
	out.L3Machine, out.L3Own = lineOf(s.Machine, "L3:"), lineOf(s.Own, "L3:")
	out.MBMachine, out.MBOwn = lineOf(s.Machine, "MB:"), lineOf(s.Own, "MB:")
	if i := s.L3; i != nil {
		out.L3Info = &l3Info{i.Mask, i.MinBits, i.Classes}
	}
	if i := s.MB; i != nil {
		out.MBInfo = &mbInfo{Granularity: i.Granularity, Min: i.Min, Classes: i.Classes}
		if i.Linear {
			out.MBInfo.Linear = 1
		}
	}
	// A list is there if anything is counted, and then with an entry for each cache.
	var bandwidth, occupancy bool
	for _, d := range s.Domains {
		bandwidth = bandwidth || d.Total != nil || d.Local != nil
		occupancy = occupancy || d.Occupancy != nil
	}
	for _, d := range s.Domains {
		if bandwidth {
			out.Bandwidth = append(out.Bandwidth, mbStats{orZero(d.Total), orZero(d.Local)})
		}
		if occupancy {
			out.Occupancies = append(out.Occupancies, occupyStats{orZero(d.Occupancy)})
		}
	}
	return out
}

func orZero(n *uint64) uint64 {
	if n == nil {
		return 0
	}
	return *n
}

// lineOf returns the first of lines with a prefix.
func lineOf(lines []string, prefix string) string {
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			return l
		}
	}
	return ""
}
