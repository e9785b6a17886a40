package resctrl

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/testutil"
)

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		testutil.Must(t, errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)))
	}
}

func TestStats(t *testing.T) {
	s, root := newFake(t)
	g, err := s.Create("c1", Config{Monitoring: true})
	testutil.Must(t, err)
	schemata := []string{"L3:0=fffff;1=fffff", "MB:0=100;1=100"}
	check := func(g *Group, want *Stats) {
		t.Helper()
		got, err := g.Stats()
		testutil.Must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	check(nil, nil)
	check(g, &Stats{Machine: schemata, Own: schemata}) // a machine that can do nothing but this

	write(t, root, map[string]string{
		"info/L3/cbm_mask": "fffff\n", "info/L3/min_cbm_bits": "1\n", "info/L3/num_closids": "16\n",
		"info/MB/bandwidth_gran": "10\n", "info/MB/min_bandwidth": "5\n", "info/MB/num_closids": "8\n", "info/MB/delay_linear": "1\n",
		"c1/mon_groups/c1/mon_data/mon_L3_00/llc_occupancy":   "16234000\n",
		"c1/mon_groups/c1/mon_data/mon_L3_00/mbm_total_bytes": "30\n",
		"c1/mon_groups/c1/mon_data/mon_L3_00/mbm_local_bytes": "20\n",
		"c1/mon_groups/c1/mon_data/mon_L3_01/llc_occupancy":   "Unavailable\n",
		"c1/mon_groups/c1/mon_data/mon_L3_01/mbm_total_bytes": "1\n",
		"c1/mon_groups/c1/mon_data/mon_PERF_PKG_00/energy":    "7\n",
		"c1/mon_data/mon_L3_00/llc_occupancy":                 "99\n",
	})
	n := func(v uint64) *uint64 { return &v }
	want := &Stats{
		L3: &CacheInfo{Mask: "fffff", MinBits: 1, Classes: 16}, MB: &BandwidthInfo{Granularity: 10, Min: 5, Linear: true, Classes: 8},
		Machine: schemata, Own: schemata,
		Domains: []Domain{{Occupancy: n(16234000), Total: n(30), Local: n(20)}, {Total: n(1)}},
	}
	check(g, want)
	want.Domains = []Domain{{Occupancy: n(99)}} // without a group of its own, what its class uses
	check(s.Group("c1", Config{}), want)
	want.Domains = nil
	check(s.Group("c2", Config{ClosID: "/"}), want)

	if _, err := s.Group("gone", Config{}).Stats(); err == nil {
		t.Error("statistics of a class that is gone")
	}
	write(t, root, map[string]string{"info/L3/num_closids": "many\n"})
	if _, err := g.Stats(); err == nil {
		t.Error("a number that is none is passed over")
	}
}
