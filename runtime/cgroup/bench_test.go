package cgroup

import (
	"context"
	"strconv"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// podResources is what a kubelet asks for.
func podResources() *specs.LinuxResources {
	return &specs.LinuxResources{
		CPU:     &specs.LinuxCPU{Shares: new(uint64(512)), Quota: new(int64(50000)), Period: new(uint64(100000))},
		Memory:  &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(64 << 20))},
		Pids:    &specs.LinuxPids{Limit: new(int64(1000))},
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
	}
}

// BenchmarkLife reports the parts of a group's life in microseconds.
func BenchmarkLife(b *testing.B) {
	h, base := testHost(b)
	_, err := h.Ensure(b.Context(), base+"/pod")
	must(b, err)
	parts := map[string]time.Duration{}
	part := func(name string, f func() error) {
		start := time.Now()
		must(b, f())
		parts[name+"-µs"] += time.Since(start)
	}
	i := 0
	for b.Loop() {
		i++
		var g *Group
		part("create", func() (err error) {
			g, err = h.Create(b.Context(), base+"/pod/"+strconv.Itoa(i), podResources())
			return err
		})
		part("join-files", func() error {
			files, err := g.JoinFiles()
			for _, f := range files {
				must(b, f.Close())
			}
			return err
		})
		part("stats", func() error { _, err := g.Stats(); return err })
		part("update", func() error {
			return g.Update(context.Background(), &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: new(int64(60000))}})
		})
		part("kill-empty", func() error { return g.Kill(context.Background()) })
		part("remove", func() error { return g.Remove(context.Background()) })
	}
	for name, t := range parts {
		b.ReportMetric(float64(t.Microseconds())/float64(b.N), name)
	}
}
