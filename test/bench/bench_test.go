package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestPercentiles(t *testing.T) {
	var d []time.Duration
	for i := range 100 {
		d = append(d, time.Duration(100-i)*time.Millisecond)
	}
	if got := percentiles(d); got != (Percentiles{P50: 51, P90: 91, P99: 100}) {
		t.Errorf("%+v", got)
	}
}

func TestTableComparesBothWays(t *testing.T) {
	r := Report{Runtimes: []Figures{
		{Runtime: "berth", PodUp: Percentiles{P50: 10}, PodsPerSecond: 80, MemoryPerPod: 10 << 10},
		{Runtime: "containerd", PodUp: Percentiles{P50: 100}, PodsPerSecond: 8, MemoryPerPod: 100 << 10},
	}, OCI: []OCIFigures{{Runtime: "berth-oci", Run: Percentiles{P50: 3}}, {Runtime: "crun", Run: Percentiles{P50: 30}}}}
	var b strings.Builder
	r.writeTables(&b)
	if n := strings.Count(b.String(), "10.0 ×"); n != 4 {
		t.Errorf("want four figures ten times better:\n%s", b.String())
	}
}

func TestMemoryIsRead(t *testing.T) {
	if n, err := pss(os.Getpid()); err != nil || n <= 0 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := processPeak(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("%d, %v", n, err)
	}
	parents, names, err := processTable()
	if err != nil || len(parents) == 0 || len(names) != len(parents) {
		t.Errorf("%d processes, %v", len(parents), err)
	}
}
