package container_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/container"
)

// report gives percentiles instead of the mean.
func report(b *testing.B, name string, times []time.Duration) {
	b.Helper()
	slices.Sort(times)
	at := func(p int) float64 { return float64(times[(len(times)-1)*p/100].Microseconds()) }
	b.ReportMetric(at(50), "p50-"+name+"-µs")
	b.ReportMetric(at(90), "p90-"+name+"-µs")
}

// BenchmarkStart creates, starts, awaits and deletes a container with the mounts, masks and namespaces of a pod's.
func BenchmarkStart(b *testing.B) {
	n := newNode(b, build(b))
	b.Run("plain", func(b *testing.B) { benchmarkStart(b, n, func(*trial) {}) })
	b.Run("seccomp", func(b *testing.B) { benchmarkStart(b, n, runtimeDefault(b)) })
	b.Run("users", func(b *testing.B) { benchmarkStart(b, n, (*trial).mapUsers) })
}

// BenchmarkSeccomp starts containers without and with RuntimeDefault in turn, so that what the profile adds can be told from
// what the machine does beside.
func BenchmarkSeccomp(b *testing.B) {
	n, profile := newNode(b, build(b)), runtimeDefault(b)
	var plain, filtered []time.Duration
	for b.Loop() {
		plain = append(plain, startOnce(b, n, func(*trial) {}).both())
		filtered = append(filtered, startOnce(b, n, profile).both())
	}
	report(b, "plain", plain)
	report(b, "seccomp", filtered)
}

func runtimeDefault(b *testing.B) func(*trial) {
	var profile specs.LinuxSeccomp
	data, err := os.ReadFile("../../cri-server/spec/testdata/seccomp-default.json")
	testutil.Must(b, err)
	testutil.Must(b, json.Unmarshal(data, &profile))
	return func(tr *trial) { tr.spec.Linux.Seccomp = &profile }
}

func benchmarkStart(b *testing.B, n *node, change func(*trial)) {
	var create, start, both, end, remove []time.Duration
	for b.Loop() {
		t := startOnce(b, n, change)
		create, start, both = append(create, t.create), append(start, t.start), append(both, t.both())
		end, remove = append(end, t.end), append(remove, t.remove)
	}
	report(b, "create", create)
	report(b, "start", start)
	report(b, "create+start", both)
	report(b, "exit", end)
	report(b, "delete", remove)
}

// times are those of a container's life.
type times struct{ create, start, end, remove time.Duration }

func (t times) both() time.Duration { return t.create + t.start }

func startOnce(b *testing.B, n *node, change func(*trial)) times {
	b.Helper()
	tr := n.newTrial(b, "exit:0")
	tr.opts.LogPath = ""
	if change(tr); tr.opts.Root == nil {
		tr.opts.Root = n.newRoot(b, nil)
	}
	t0 := time.Now()
	testutil.Must(b, n.Create(bg(), tr.opts))
	t1 := time.Now()
	_, err := n.Start(bg(), tr.id)
	testutil.Must(b, err)
	t2 := time.Now()
	tr.wait()
	t3 := time.Now()
	testutil.Must(b, n.Delete(bg(), tr.id, container.DeleteOptions{}))
	return times{t1.Sub(t0), t2.Sub(t1), t3.Sub(t2), time.Since(t3)}
}

// BenchmarkExec runs the probe's "true" in a container to its end.
func BenchmarkExec(b *testing.B) {
	n := newNode(b, build(b))
	tr := n.newTrial(b, "loop")
	testutil.Must(b, tr.start())
	p := *tr.spec.Process
	p.Args = []string{"/bin/probe", "exit:0"}
	if data, err := os.ReadFile("/bin/busybox"); err == nil { // a program that starts faster than Go
		root, err := n.OpenRoot(tr.id)
		testutil.Must(b, err)
		testutil.Must(b, os.WriteFile("/proc/self/fd/"+fdName(root)+"/bin/true", data, 0o755))
		testutil.Must(b, root.Close())
		p.Args = []string{"/bin/true"}
	}
	var started, ended, closed []time.Duration
	for b.Loop() {
		t0 := time.Now()
		e, err := n.Exec(bg(), tr.id, container.ExecOptions{Process: &p})
		testutil.Must(b, err)
		t1 := time.Now()
		_, err = e.Wait(bg())
		testutil.Must(b, err)
		t2 := time.Now()
		testutil.Must(b, e.Close())
		started, ended, closed = append(started, t1.Sub(t0)), append(ended, t2.Sub(t0)), append(closed, time.Since(t0))
	}
	report(b, "started", started)
	report(b, "ended", ended)
	report(b, "closed", closed)
}
