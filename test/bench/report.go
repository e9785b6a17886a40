package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Percentiles are of one latency, in milliseconds.
type Percentiles struct {
	P50, P90, P99 float64
}

func percentiles(d []time.Duration) Percentiles {
	slices.Sort(d)
	at := func(p float64) float64 {
		i := int(p * float64(len(d)))
		return float64(d[min(i, len(d)-1)].Microseconds()) / 1000
	}
	return Percentiles{P50: at(0.50), P90: at(0.90), P99: at(0.99)}
}

// Figures are one runtime's.
type Figures struct {
	Runtime              string
	PodUp, PodDown, Exec Percentiles
	PodsPerSecond        float64 // ten at once
	MemoryPerPod         int64   // bytes of PSS beside the workload
	PullSeconds          float64 // of the large image; 0 when left out
}

// Report is a run.
type Report struct {
	Time     time.Time
	Kernel   string
	CPUs     int
	Runs     int
	Load     string // of the machine, before and after
	Runtimes []Figures
	OCI      []OCIFigures
	Net      []NetFigures
	CNI      []CNIFigures
	Crowds   []CrowdFigures
}

func newReport(o options) *Report {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	return &Report{Time: time.Now().UTC(), Kernel: strings.TrimSpace(string(kernel)), CPUs: runtime.NumCPU(), Runs: o.runs, Load: loadAverage()}
}

// loadAverage returns how many processes wanted to run in the last minute (proc_loadavg(5)).
func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	load, _, _ := strings.Cut(string(data), " ")
	return load
}

func (r *Report) writeJSON(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

func (r *Report) writeTables(w io.Writer) {
	fmt.Fprintf(w, "Linux %s, %d CPUs, load %s, %d runs\n", r.Kernel, r.CPUs, r.Load, r.Runs)
	if len(r.Runtimes) > 0 {
		r.writeTable(w)
	}
	if len(r.OCI) > 0 {
		r.writeOCI(w)
	}
	if len(r.Net) > 0 {
		r.writeNet(w)
	}
	if len(r.CNI) > 0 {
		r.writeCNI(w)
	}
}

// writeTable prints a line per figure and a column per runtime, and how many times better the first is than the second.
func (r *Report) writeTable(w io.Writer) {
	var buf bytes.Buffer
	t := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	row := func(name string, format func(Figures) string, value func(Figures) float64, lowerIsBetter bool) {
		fmt.Fprint(t, name)
		for _, f := range r.Runtimes {
			fmt.Fprint(t, "\t", format(f))
		}
		if len(r.Runtimes) == 2 && value(r.Runtimes[0]) > 0 && value(r.Runtimes[1]) > 0 {
			ratio := value(r.Runtimes[1]) / value(r.Runtimes[0])
			if !lowerIsBetter {
				ratio = 1 / ratio
			}
			fmt.Fprintf(t, "\t%.1f ×", ratio)
		}
		fmt.Fprintln(t)
	}
	fmt.Fprint(t, "figure")
	for _, f := range r.Runtimes {
		fmt.Fprint(t, "\t", f.Runtime)
	}
	fmt.Fprintln(t)
	for _, latency := range []struct {
		name string
		get  func(Figures) Percentiles
	}{
		{"pod up, ms (p50 p90 p99)", func(f Figures) Percentiles { return f.PodUp }},
		{"pod down, ms (p50 p90 p99)", func(f Figures) Percentiles { return f.PodDown }},
		{"exec, ms (p50 p90 p99)", func(f Figures) Percentiles { return f.Exec }},
	} {
		row(latency.name, func(f Figures) string {
			p := latency.get(f)
			return fmt.Sprintf("%.1f %.1f %.1f", p.P50, p.P90, p.P99)
		}, func(f Figures) float64 { return latency.get(f).P50 }, true)
	}
	row("pods per second, 10 at once", func(f Figures) string { return fmt.Sprintf("%.1f", f.PodsPerSecond) }, func(f Figures) float64 { return f.PodsPerSecond }, false)
	row("memory per idle pod, KiB PSS", func(f Figures) string { return fmt.Sprintf("%.0f", float64(f.MemoryPerPod)/1024) }, func(f Figures) float64 { return float64(f.MemoryPerPod) }, true)
	row("pull of the large image, s", func(f Figures) string { return fmt.Sprintf("%.1f", f.PullSeconds) }, func(f Figures) float64 { return f.PullSeconds }, true)
	if err := t.Flush(); err != nil {
		fmt.Fprintln(w, err)
	}
	fmt.Fprint(w, &buf)
}

// writeOCI prints a line per OCI runtime, and how many times better the first is.
func (r *Report) writeOCI(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "OCI runtime\trun true, ms (p50 p90 p99)\t\tpeak memory, KiB")
	for _, f := range r.OCI {
		ratio := ""
		if f.Runtime != r.OCI[0].Runtime {
			ratio = fmt.Sprintf("%.1f ×", f.Run.P50/r.OCI[0].Run.P50)
		}
		fmt.Fprintf(t, "%s\t%.1f %.1f %.1f\t%s\t%d\n", f.Runtime, f.Run.P50, f.Run.P90, f.Run.P99, ratio, f.Memory>>10)
	}
	if err := t.Flush(); err != nil {
		fmt.Fprintln(w, err)
	}
}
