package main

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

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

func TestTablesOfNetworks(t *testing.T) {
	add := func(ms float64) Percentiles { return Percentiles{P50: ms} }
	r := Report{
		CNI: []CNIFigures{
			{Chain: "bridge", Plugins: oursName, Add: add(5), Del: add(4)},
			{Chain: "bridge", Plugins: peerName, Add: add(30), Del: add(28)},
			{Chain: "ports", Plugins: oursName, Add: add(10), Del: add(10)},
			{Chain: "ports", Plugins: peerName, Add: add(110), Del: add(120)},
			{Chain: "ports, alone", Plugins: oursName, Add: add(5), Del: add(8)},
		},
		Crowds: []CrowdFigures{{Chain: "ports", Plugins: oursName, Others: 500, Without: add(10), With: add(11)}},
		Net:    []NetFigures{{Path: "pod to pod", Plugins: oursName, ThroughputRatio: ratio([][]float64{{3, 2}, {2, 2}, {1, 2}}), RateRatio: 1.01, LeanRatio: 1.02}},
	}
	var b strings.Builder
	r.writeTables(&b)
	for _, want := range []string{"6.0 ×", "7.0 ×", "11.0 ×", "12.0 ×", "22.0 ×", "15.0 ×", "1.10 times", "1.000 ×", "1.010 ×", "1.020 ×"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is missing:\n%s", want, b.String())
		}
	}
}

func TestTCPIsSentAndAnswered(t *testing.T) {
	testutil.RequireRoot(t)
	cu := cleanup.Make(new(error))
	defer cu.Clean()
	h, err := namespace(filepath.Join(t.TempDir(), "ns"), cu)
	testutil.Must(t, err)
	stop, err := serveTCP(h, servedPort)
	testutil.Must(t, err)
	to := netip.MustParseAddrPort("127.0.0.1:5001")
	for _, bytes := range []int{1, 3 * block / 2} {
		if e, err := converse(h, to, 3, bytes); err != nil || e.took <= 0 || e.cpu < 0 {
			t.Errorf("%d bytes: %v, %v", bytes, e, err)
		}
	}
	testutil.Must(t, stop())
	if _, err := converse(h, to, 1, 1); err == nil {
		t.Error("it is still served")
	}
}

func TestPeakOfATracedCommand(t *testing.T) {
	var err error
	var peak int64
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	done := make(chan struct{})
	go func() { // a thread that traces must do so to the end
		runtime.LockOSThread()
		peak, err = tracedPeak(cmd)
		close(done)
	}()
	<-done
	if err != nil || peak < 1<<20 {
		t.Errorf("%d bytes, %v", peak, err)
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
