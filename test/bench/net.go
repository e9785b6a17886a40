package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/netns"
)

// NetFigures are those of TCP on one path through a bridge.
type NetFigures struct {
	Path, Plugins    string
	Throughput, Rate Spread  // Gbit/s of one connection; connections per second, one after the other
	Lean             Spread  // connections in a second of CPU time, that of both ends and of the kernel for them
	ThroughputRatio  float64 // median of what berth's has in a slice divided by what the other has in the one beside it; 0 for the other
	RateRatio        float64
	LeanRatio        float64
}

// Spread is of a figure of which more is better.
type Spread struct {
	P10, P50, P90 float64
}

// netSide is a world with two pods, of which the first serves and has a published port.
type netSide struct {
	name         string
	world        *world
	server, peer *netns.Handle
	address      netip.Addr
	hostPort     int
}

// netPath is one path, and what its slices had, by side.
type netPath struct {
	name                   string
	from                   func(*netSide) *netns.Handle
	to                     func(*netSide) netip.AddrPort
	throughput, rate, lean [][]float64
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

// netWorlds is how often the worlds are made anew: where in memory one lies makes it faster or slower by itself, by a hundredth or so.
const netWorlds = 8

// measureNet sends TCP through bridges of berth's plugins and, in turn, of Debian's.
func measureNet(ctx context.Context, o options) (list []NetFigures, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	dir, sets, err := preparePlugins(cu)
	if err != nil {
		return nil, err
	}
	if o.null {
		sets = []pluginSet{sets[0], sets[0]}
	}
	all := paths()
	for i := range netWorlds {
		if err := measureWorlds(ctx, filepath.Join(dir, strconv.Itoa(i)), sets, all, i, netRuns*o.runs/netWorlds); err != nil {
			return nil, err
		}
	}
	for _, p := range all {
		list = append(list, p.figures(sets)...)
	}
	return list, nil
}

// measureWorlds makes a world for each set of plugins, in an order that depends on n, and adds that many pairs of slices to each path.
func measureWorlds(ctx context.Context, dir string, sets []pluginSet, all []*netPath, n, pairs int) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	sides := make([]*netSide, len(sets))
	for i := range sets {
		i = (i + n) % len(sets)
		if sides[i], err = newSide(sets[i], dir+"-"+strconv.Itoa(i), cu); err != nil {
			return fmt.Errorf("%s: %w", sets[i].name, err)
		}
	}
	for i := range warmUp + pairs {
		for _, p := range all {
			if err := p.pair(ctx, sides, i, i >= warmUp); err != nil {
				return err
			}
		}
	}
	return nil
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
