package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A slice is short, and the two sides take turns: what slows the machine down for longer hits both, and what comes and goes is in few of
// the many pairs of slices, whose ratios' median is the figure. Longer slices give ratios that spread as much, and fewer of them.
const (
	bytesASlice       = 4 << 20
	connectionsASlice = 10
	netRuns           = 120 // how many times more often than others these are measured
)

// effort is what a slice took.
type effort struct {
	took, cpu time.Duration // cpu is that of both ends, and of the kernel for them
}

// pair takes a slice of each kind on each side, which count or not. Who begins changes with n.
func (p *netPath) pair(ctx context.Context, sides []*netSide, n int, count bool) error {
	streams, err := p.inTurn(ctx, sides, n, 1, bytesASlice)
	if err != nil {
		return err
	}
	connections, err := p.inTurn(ctx, sides, n, connectionsASlice, 1)
	if err != nil || !count {
		return err
	}
	throughput, rate, lean := make([]float64, len(sides)), make([]float64, len(sides)), make([]float64, len(sides))
	for i := range sides {
		throughput[i] = bytesASlice * 8 / 1e9 / streams[i].took.Seconds()
		rate[i] = connectionsASlice / connections[i].took.Seconds()
		lean[i] = connectionsASlice / connections[i].cpu.Seconds()
	}
	p.throughput, p.rate, p.lean = append(p.throughput, throughput), append(p.rate, rate), append(p.lean, lean)
	return nil
}

// inTurn connects that many times on each side and sends that many bytes each time. The efforts are in the order of the sides.
func (p *netPath) inTurn(ctx context.Context, sides []*netSide, n, times, bytes int) ([]effort, error) {
	efforts := make([]effort, len(sides))
	for i := range sides {
		i = (i + n) % len(sides)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if efforts[i], err = converse(p.from(sides[i]), p.to(sides[i]), times, bytes); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", p.name, sides[i].name, err)
		}
	}
	return efforts, nil
}

func (p *netPath) figures(sets []pluginSet) (list []NetFigures) {
	for i, s := range sets {
		f := NetFigures{Path: p.name, Plugins: s.name, Throughput: spread(p.throughput, i), Rate: spread(p.rate, i), Lean: spread(p.lean, i)}
		if i == 0 && len(sets) > 1 {
			f.ThroughputRatio, f.RateRatio, f.LeanRatio = ratio(p.throughput), ratio(p.rate), ratio(p.lean)
		}
		list = append(list, f)
	}
	return list
}

func spread(pairs [][]float64, side int) Spread {
	var list []float64
	for _, p := range pairs {
		list = append(list, p[side])
	}
	slices.Sort(list)
	at := func(p float64) float64 { return list[min(int(p*float64(len(list))), len(list)-1)] }
	return Spread{P10: at(0.1), P50: at(0.5), P90: at(0.9)}
}

// ratio is the median of what the first side has for each that the second has, pair by pair.
func ratio(pairs [][]float64) float64 {
	var list [][]float64
	for _, p := range pairs {
		list = append(list, []float64{p[0] / p[1]})
	}
	return spread(list, 0).P50
}
