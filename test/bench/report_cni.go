package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// writeCNI prints a line for each way and its plugins, and how many times faster berth's are than the others doing the same.
func (r *Report) writeCNI(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CNI plugins\tADD, ms (p50 p90 p99)\t\tDEL, ms (p50 p90 p99)\t\tCPU of both, ms\tpeak memory, KiB")
	for _, f := range r.CNI {
		add, del := "", ""
		if peer, ok := r.peerOf(f); ok {
			add, del = fmt.Sprintf("%.1f ×", peer.Add.P50/f.Add.P50), fmt.Sprintf("%.1f ×", peer.Del.P50/f.Del.P50)
		}
		fmt.Fprintf(t, "%s: %s\t%.1f %.1f %.1f\t%s\t%.1f %.1f %.1f\t%s\t%.1f %.1f\t%d\n", f.Chain, f.Plugins,
			f.Add.P50, f.Add.P90, f.Add.P99, add, f.Del.P50, f.Del.P90, f.Del.P99, del, f.AddCPU, f.DelCPU, f.Memory>>10)
	}
	for _, f := range r.Crowds {
		fmt.Fprintf(t, "%s: %s, beside %d\t%.1f %.1f %.1f\t%.2f times the %.1f beside none\n", f.Chain, f.Plugins, f.Others,
			f.With.P50, f.With.P90, f.With.P99, f.With.P50/f.Without.P50, f.Without.P50)
	}
	if err := t.Flush(); err != nil {
		fmt.Fprintln(w, err)
	}
}

// peerOf finds the figures of others for what berth's plugins did: of the same chain, or of the last one that others have.
func (r *Report) peerOf(f CNIFigures) (peer CNIFigures, ok bool) {
	if f.Plugins != oursName {
		return peer, false
	}
	for _, g := range r.CNI {
		if g.Plugins == oursName {
			continue
		}
		if peer, ok = g, true; g.Chain == f.Chain {
			break
		}
	}
	return peer, ok
}

// writeNet prints a line for each path and its plugins.
func (r *Report) writeNet(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TCP through the bridge\tGbit/s (p10 p50 p90)\t\tconnections/s (p10 p50 p90)\t\tconnections in 1 s of CPU time\t")
	for _, f := range r.Net {
		throughput, rate, lean := "", "", ""
		if f.ThroughputRatio != 0 {
			throughput, rate, lean = fmt.Sprintf("%.3f ×", f.ThroughputRatio), fmt.Sprintf("%.3f ×", f.RateRatio), fmt.Sprintf("%.3f ×", f.LeanRatio)
		}
		fmt.Fprintf(t, "%s: %s\t%.1f %.1f %.1f\t%s\t%.0f %.0f %.0f\t%s\t%.0f %.0f %.0f\t%s\n", f.Path, f.Plugins,
			f.Throughput.P10, f.Throughput.P50, f.Throughput.P90, throughput, f.Rate.P10, f.Rate.P50, f.Rate.P90, rate, f.Lean.P10, f.Lean.P50, f.Lean.P90, lean)
	}
	if err := t.Flush(); err != nil {
		fmt.Fprintln(w, err)
	}
}
