package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/netns"
)

// NetFigures are those of TCP on one path through a bridge.
type NetFigures struct {
	Path, Plugins    string
	Throughput, Rate Spread  // Gbit/s of one connection; connections per second, one after the other
	ThroughputRatio  float64 // median of what berth's has in a round divided by what the other has; 0 for the other
	RateRatio        float64
}

// Spread is of a figure of which more is better.
type Spread struct {
	P10, P50, P90 float64
}

const (
	bytesARound       = 256 << 20
	connectionsARound = 500
	netRuns           = 4 // how many times more often than others these are measured: what others do meanwhile is found in single rounds
)

// netSide is a world with two pods, of which the first serves and has a published port.
type netSide struct {
	name         string
	world        *world
	server, peer *netns.Handle
	address      netip.Addr
	hostPort     int
}

// netPath is one path, and what its rounds had, by side.
type netPath struct {
	name             string
	from             func(*netSide) *netns.Handle
	to               func(*netSide) netip.AddrPort
	throughput, rate [][]float64
}

func paths() []*netPath {
	outside := netip.MustParseAddr("192.0.2.2")
	return []*netPath{
		{
			name: "pod to pod", from: func(s *netSide) *netns.Handle { return s.peer },
			to: func(s *netSide) netip.AddrPort { return netip.AddrPortFrom(s.address, servedPort) },
		},
		{
			name: "pod to outside, masqueraded", from: func(s *netSide) *netns.Handle { return s.peer },
			to: func(*netSide) netip.AddrPort { return netip.AddrPortFrom(outside, servedPort) },
		},
		{
			name: "outside to a published port", from: func(s *netSide) *netns.Handle { return s.world.outside },
			to: func(s *netSide) netip.AddrPort {
				return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(s.hostPort))
			},
		},
	}
}

// measureNet sends TCP through bridges of berth's plugins and, in turn, of Debian's.
func measureNet(ctx context.Context, o options) (list []NetFigures, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	dir, sets, err := preparePlugins(cu)
	if err != nil {
		return nil, err
	}
	var sides []*netSide
	for _, set := range sets {
		s, err := newSide(set, filepath.Join(dir, set.name), cu)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.name, err)
		}
		sides = append(sides, s)
	}
	all := paths()
	for i := range warmUp + netRuns*o.runs {
		for _, p := range all {
			if err := p.round(ctx, sides, i); err != nil {
				return nil, err
			}
			if i < warmUp {
				p.throughput, p.rate = nil, nil
			}
		}
	}
	for _, p := range all {
		list = append(list, p.figures(sides)...)
	}
	return list, nil
}

func newSide(set pluginSet, dir string, cu *cleanup.Stack) (*netSide, error) {
	w, err := newWorld(set, dir, cu)
	if err != nil {
		return nil, err
	}
	c := w.separate()[:2] // bridge and portmap
	if set.name == oursName {
		c = w.alone()
	}
	s := &netSide{name: set.name, world: w}
	var served *netPod
	if s.server, served, err = w.attached(c, cu); err != nil {
		return nil, err
	}
	if s.peer, _, err = w.attached(c, cu); err != nil {
		return nil, err
	}
	s.hostPort = served.hostPort
	if s.address, err = served.address(); err != nil {
		return nil, err
	}
	for _, h := range []*netns.Handle{s.server, w.outside} {
		stop, err := serveTCP(h, servedPort)
		if err != nil {
			return nil, err
		}
		cu.Add(stop)
	}
	return s, nil
}

// attached makes a pod with a network. It goes with the stack.
func (w *world) attached(c chain, cu *cleanup.Stack) (*netns.Handle, *netPod, error) {
	p, err := w.pod()
	if err != nil {
		return nil, nil, err
	}
	cu.Add(p.remove)
	if _, err := w.call("ADD", c, p, false); err != nil {
		return nil, nil, err
	}
	h, err := netns.Open(p.path)
	if err != nil {
		return nil, nil, err
	}
	cu.Add(h.Close)
	return h, p, nil
}

// address is the first one that the plugins gave.
func (p *netPod) address() (netip.Addr, error) {
	var r struct {
		IPs []struct {
			Address netip.Prefix `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(p.result, &r); err != nil {
		return netip.Addr{}, err
	}
	if len(r.IPs) == 0 {
		return netip.Addr{}, errors.New("the plugins gave no address")
	}
	return r.IPs[0].Address.Addr(), nil
}

// round takes one figure of each kind for each side. Who begins changes.
func (p *netPath) round(ctx context.Context, sides []*netSide, n int) error {
	throughput, rate := make([]float64, len(sides)), make([]float64, len(sides))
	for i := range sides {
		i = (i + n) % len(sides)
		s := sides[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		took, err := converse(p.from(s), p.to(s), 1, bytesARound)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", p.name, s.name, err)
		}
		throughput[i] = bytesARound * 8 / 1e9 / took.Seconds()
	}
	for i := range sides {
		i = (i + n) % len(sides)
		s := sides[i]
		took, err := converse(p.from(s), p.to(s), connectionsARound, 1)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", p.name, s.name, err)
		}
		rate[i] = connectionsARound / took.Seconds()
	}
	p.throughput, p.rate = append(p.throughput, throughput), append(p.rate, rate)
	return nil
}

func (p *netPath) figures(sides []*netSide) (list []NetFigures) {
	for i, s := range sides {
		f := NetFigures{Path: p.name, Plugins: s.name, Throughput: spread(p.throughput, i), Rate: spread(p.rate, i)}
		if i == 0 && len(sides) > 1 {
			f.ThroughputRatio, f.RateRatio = ratio(p.throughput), ratio(p.rate)
		}
		list = append(list, f)
	}
	return list
}

func spread(rounds [][]float64, side int) Spread {
	var list []float64
	for _, r := range rounds {
		list = append(list, r[side])
	}
	slices.Sort(list)
	at := func(p float64) float64 { return list[min(int(p*float64(len(list))), len(list)-1)] }
	return Spread{P10: at(0.1), P50: at(0.5), P90: at(0.9)}
}

// ratio is the median of what the first side has for each that the second has, round by round.
func ratio(rounds [][]float64) float64 {
	var list [][]float64
	for _, r := range rounds {
		list = append(list, []float64{r[0] / r[1]})
	}
	return spread(list, 0).P50
}
