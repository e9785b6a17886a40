package cgroup

import (
	"context"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/testutil"
)

func TestWatchOOM(t *testing.T) {
	h, base := testHost(t)
	requireControllers(t, h, "memory")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	g, err := h.Create(ctx, base+"/watched", memoryLimit(16<<20))
	must(t, err)
	_ = start(t, g, "sleep 1000; true") // so that the group is never empty
	seen := make(chan uint64, 100)
	ended := make(chan error, 1)
	go func() { ended <- g.WatchOOM(ctx, func(kills uint64) { seen <- kills }) }()
	for i := uint64(1); i <= 2; i++ {
		for { // the watch may not have begun yet
			if err := start(t, g, "x=aaaaaaaa; while :; do x=$x$x; done").Wait(); err == nil {
				t.Error("a shell with endless memory ended well")
			}
			if kills := <-seen; kills >= i {
				break
			}
		}
	}
	must(t, g.Kill(ctx))
	must(t, g.Remove(ctx))
	if err := <-ended; err != nil {
		t.Errorf("WatchOOM of a removed group = %v", err)
	}
	if err := g.WatchOOM(ctx, nil); err != nil {
		t.Errorf("WatchOOM of no group = %v", err)
	}
}

func TestDetails(t *testing.T) {
	h, base := testHost(t)
	requireControllers(t, h, "memory")
	g, err := h.Create(t.Context(), base+"/details", memoryLimit(256<<20))
	must(t, err)
	_, _ = holder(t, g, "kept")
	d, err := g.Details()
	must(t, err)
	if d.MemoryUse.Usage < holdSize || d.MemoryUse.Limit != 256<<20 || d.MemoryRaw["pgfault"] == 0 || d.Memory.Usage == 0 {
		t.Errorf("memory: %+v, %d", d.MemoryUse, len(d.MemoryRaw))
	}
	v2, _ := h.isV2("memory")
	if !v2 && (d.MemoryUse.Peak < holdSize || d.MemorySwap.Limit != 256<<20) {
		t.Errorf("memory of v1: %+v, with swap %+v", d.MemoryUse, d.MemorySwap)
	}
	if h.Has("cpuset") && d.CPUSet.CPUs == "" {
		t.Error("no CPUs")
	}
	if h.Has("cpuacct") && len(d.PerCPU) == 0 {
		t.Error("no times by CPU")
	}
	if !h.Has("rdma") {
		t.Log("no rdma controller here: its parser is tested on text")
	}
	if h.Has("hugetlb") && len(d.Hugetlb) == 0 {
		testutil.Skip(t, "no huge pages here")
	}
	t.Logf("%+v", d)
}
