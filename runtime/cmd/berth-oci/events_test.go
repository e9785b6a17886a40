package main

import (
	"bufio"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/oci"
	"github.com/berth-runtime/berth/runtime/resctrl"
)

// Events tell of a container that runs out of memory all the time, and end with it.
func TestEventsOfMemory(t *testing.T) {
	p := newPlace(t)
	limit := int64(16 << 20)
	p.spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
	p.shell("while :; do tail /dev/zero; done")
	p.write()
	p.ok("run", "-d", "c")
	cmd := p.command("events", "--interval", "10ms", "c")
	out, err := cmd.StdoutPipe()
	testutil.Must(t, err)
	testutil.Must(t, cmd.Start())
	seen := map[string]bool{}
	in := bufio.NewScanner(out)
	in.Buffer(nil, 1<<20)
	for !(seen["oom"] && seen["stats"]) && in.Scan() {
		var e struct {
			Type, ID string
			Data     *stats
		}
		testutil.Must(t, json.Unmarshal(in.Bytes(), &e))
		seen[e.Type] = true
		if e.ID != "c" || e.Type == "stats" && (e.Data.Memory.Usage.Limit != uint64(limit) || len(e.Data.Memory.Raw) < 10) {
			t.Errorf("%s", in.Text())
		}
	}
	p.ok("kill", "c", "KILL")
	for in.Scan() { // to its end
	}
	if err := cmd.Wait(); err != nil || !seen["oom"] || !seen["stats"] {
		t.Errorf("%v, seen %v", err, seen)
	}
}

// An unlimited size is the greatest number, swap counts memory too on both versions of control groups, and lists of CPUs are numbers.
func TestStatsForm(t *testing.T) {
	d := cgroup.Details{
		Stats:     cgroup.Stats{Memory: &cgroup.MemoryStats{Cache: 3}},
		CPUSet:    cgroup.CPUSet{CPUs: "0-2,7", Mems: "0"},
		PerCPU:    []cgroup.CPUTime{{UserNS: 1, SystemNS: 2}},
		MemoryUse: cgroup.MemoryUse{Usage: 10, Limit: 100}, SwapUse: cgroup.MemoryUse{Usage: 5, Limit: 50},
	}
	s := newStats(oci.Stats{Group: d})
	if s.Memory.Swap != (memoryEntry{Usage: 15, Limit: 150}) || s.Memory.Kernel.Limit != 1<<64-1 {
		t.Errorf("%+v", s.Memory)
	}
	if diff := cmp.Diff([]uint16{0, 1, 2, 7}, s.CPUSet.CPUs); diff != "" {
		t.Error(diff)
	}
	data, err := json.Marshal(s)
	testutil.Must(t, err)
	for _, part := range []string{`"percpu":[3]`, `"percpu_kernel":[2]`, `"percpu_user":[1]`, `"cache":3`, `"failcnt":0`} {
		if !strings.Contains(string(data), part) {
			t.Errorf("no %s in %s", part, data)
		}
	}
	if got := numbers(""); !slices.Equal(got, nil) {
		t.Errorf("of an empty list: %v", got)
	}
}

// What one that has no share of the caches, or a processor without, tells is empty, and the rest are runc's names.
func TestRDTForm(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	for want, s := range map[string]*resctrl.Stats{
		`{}`: nil,
		`{"l3_cache_info":{"cbm_mask":"fff","min_cbm_bits":1,"num_closids":16},"l3_cache_schema_root":"L3:0=fff",` +
			`"l3_cache_schema":"L3:0=f","mem_bw_info":{"bandwidth_gran":10,"delay_linear":1,"min_bandwidth":5,"num_closids":8},` +
			`"mem_bw_schema_root":"MB:0=100","mem_bw_schema":"MB:0=20","mbm_stats":[{"mbm_total_bytes":3,"mbm_local_bytes":2},{}],` +
			`"cmt_stats":[{"llc_occupancy":4},{}]}`: {
			L3:      &resctrl.CacheInfo{Mask: "fff", MinBits: 1, Classes: 16},
			MB:      &resctrl.BandwidthInfo{Granularity: 10, Min: 5, Linear: true, Classes: 8},
			Machine: []string{"MB:0=100", "L3:0=fff"}, Own: []string{"MB:0=20", "L3:0=f"},
			Domains: []resctrl.Domain{{Occupancy: n(4), Total: n(3), Local: n(2)}, {}},
		},
		`{"cmt_stats":[{"llc_occupancy":4}]}`: {Domains: []resctrl.Domain{{Occupancy: n(4)}}},
	} {
		data, err := json.Marshal(newRDT(s))
		testutil.Must(t, err)
		if string(data) != want {
			t.Errorf("%s, want %s", data, want)
		}
	}
}
