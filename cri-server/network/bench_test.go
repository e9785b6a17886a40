package network_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-runtime/berth/cri-server/network"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// BenchmarkSetupTeardown attaches to the built-in network, one pod at a time, beside one that keeps it up.
func BenchmarkSetupTeardown(b *testing.B) {
	for name, ports := range map[string][]network.PortMapping{"plain": nil, "port": {{HostPort: 8000, ContainerPort: 80}}} {
		b.Run(name, func(b *testing.B) { benchmarkSetup(b, ports) })
	}
}

func benchmarkSetup(b *testing.B, ports []network.PortMapping) {
	w := newWorld(b, nil)
	w.buildPlugins()
	attach := func(id string, ports []network.PortMapping) (network.Attachment, string) {
		p := pod(id)
		dir := filepath.Join(w.dir, id)
		pins, err := netns.Create(b.Context(), netns.Config{Dir: dir, Net: true})
		testutil.Must(b, err)
		p.Netns, p.Ports = pins.Net, ports
		return p, dir
	}
	warm, warmDir := attach("warm", nil)
	_, err := w.Setup(b.Context(), warm)
	testutil.Must(b, err)
	var up, down time.Duration
	n := 0
	for b.Loop() {
		p, dir := attach(fmt.Sprint("p", n), ports)
		began := time.Now()
		_, err := w.Setup(b.Context(), p)
		testutil.Must(b, err)
		up += time.Since(began)
		began = time.Now()
		testutil.Must(b, w.Teardown(b.Context(), p))
		down += time.Since(began)
		testutil.Must(b, netns.Remove(b.Context(), dir))
		n++
	}
	b.ReportMetric(float64(up.Microseconds())/float64(n), "us-setup")
	b.ReportMetric(float64(down.Microseconds())/float64(n), "us-teardown")
	testutil.Must(b, errors.Join(w.Teardown(b.Context(), warm), netns.Remove(b.Context(), warmDir), w.GC(b.Context(), nil)))
}
