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
	s := newStats(d)
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
