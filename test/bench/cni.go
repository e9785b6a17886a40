package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/test/node"
)

// CNIFigures are those of one way to attach a pod to a network: ADD and DEL of all plugins of a chain.
type CNIFigures struct {
	Chain, Plugins string // what is done, and whose plugins do it
	Add, Del       Percentiles
	AddCPU, DelCPU float64 // milliseconds of plugins and of what they run, in the mean
	Memory         int64   // bytes, at the peak of the largest plugin
}

const (
	oursName   = "berth"
	peerName   = "containernetworking-plugins"
	peerDir    = "/usr/lib/cni" // where Debian's package has them
	crowd      = 500            // attachments, to see whether ADD is slower with them
	cniRuns    = 4              // how many times more often than others this latency is measured, which is shorter
	memoryRuns = 3
)

// way is one way to attach pods.
type way struct {
	name, by string // by: "" = with any plugins
	ports    bool   // one is published
	chain    func(*world) chain
}

func ways() []way {
	return []way{
		{"bridge, host-local", "", false, func(w *world) chain { return chain{w.bridge()} }},
		{"with masquerade", "", false, func(w *world) chain { return chain{with(w.bridge(), "ipMasq", true)} }},
		{"with portmap and firewall too", "", true, (*world).separate},
		{"the same by bridge alone", oursName, true, (*world).alone},
	}
}

// cniCase is a way in a world of its own, and what its lives have taken.
type cniCase struct {
	way
	world          *world
	chain          chain
	add, del       []time.Duration
	addCPU, delCPU time.Duration
	memory         int64
}

// bridge is the configuration that the others begin with.
func (w *world) bridge() object {
	return object{
		"type": "bridge", "bridge": "br0", "isDefaultGateway": true,
		"ipam": object{"type": "host-local", "dataDir": filepath.Join(w.dir, "ipam"), "ranges": []any{[]any{object{"subnet": "10.9.0.0/16"}}}},
	}
}

// separate publishes a port and puts up a firewall, each by a plugin of its own.
func (w *world) separate() chain {
	return chain{
		with(w.bridge(), "ipMasq", true),
		{"type": "portmap", "capabilities": object{"portMappings": true}},
		{"type": "firewall"},
	}
}

// alone is the same, as berth configures it.
func (w *world) alone() chain {
	return chain{with(with(w.bridge(), "ipMasq", true), "capabilities", object{"portMappings": true})}
}

// measureCNI attaches pods in every way, in turn with berth's plugins and with Debian's where they are installed.
func measureCNI(ctx context.Context, o options) (list []CNIFigures, crowds []CrowdFigures, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	dir, sets, err := preparePlugins(cu)
	if err != nil {
		return nil, nil, err
	}
	var cases []*cniCase
	for _, way := range ways() {
		for _, set := range sets {
			if way.by != "" && way.by != set.name {
				continue
			}
			c, err := newCase(way, set, filepath.Join(dir, fmt.Sprint(len(cases))), cu)
			if err != nil {
				return nil, nil, err
			}
			cases = append(cases, c)
		}
	}
	if err := inTurn(ctx, cases, cniRuns*o.runs); err != nil {
		return nil, nil, err
	}
	for _, c := range cases {
		if err := c.look(); err != nil {
			return nil, nil, err
		}
		list = append(list, c.figures())
	}
	crowds, err = measureCrowds(ctx, o, cases, cu)
	return list, crowds, err
}

func newCase(y way, set pluginSet, dir string, cu *cleanup.Stack) (*cniCase, error) {
	w, err := newWorld(set, dir, cu)
	if err != nil {
		return nil, err
	}
	return &cniCase{way: y, world: w, chain: y.chain(w)}, nil
}

// preparePlugins returns a folder in memory, as /run is, and the plugins to measure.
func preparePlugins(cu *cleanup.Stack) (dir string, sets []pluginSet, err error) {
	bridge, err := node.Binary("cni/bridge")
	if err != nil {
		return "", nil, err
	}
	sets = []pluginSet{{oursName, filepath.Dir(bridge)}}
	if _, err := os.Stat(filepath.Join(peerDir, "bridge")); err != nil {
		fmt.Fprintf(os.Stderr, "%s is left out: %v\n", peerName, err)
	} else {
		sets = append(sets, pluginSet{peerName, peerDir})
	}
	if dir, err = os.MkdirTemp("", "cni"); err != nil {
		return "", nil, err
	}
	cu.Add(func() error { return os.Remove(dir) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return "", nil, fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	cu.Add(func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir, sets, nil
}

// inTurn measures all cases that often, in an order that changes: the kernel clears up after one while the next one runs.
func inTurn(ctx context.Context, cases []*cniCase, rounds int) error {
	order := rand.New(rand.NewPCG(1, 2))
	for i := range warmUp + rounds {
		for _, j := range order.Perm(len(cases)) {
			if err := ctx.Err(); err != nil {
				return err
			}
			add, del, err := cases[j].life(false)
			if err != nil {
				return err
			}
			if i >= warmUp {
				cases[j].count(add, del)
			}
		}
	}
	return nil
}

// life attaches a pod and detaches it.
func (c *cniCase) life(look bool) (add, del usage, err error) {
	p, err := c.world.pod()
	if err != nil {
		return add, del, err
	}
	defer func() { err = errors.Join(err, p.remove()) }()
	if add, err = c.world.call("ADD", c.chain, p, look); err == nil {
		del, err = c.world.call("DEL", c.chain, p, look)
	}
	return add, del, err
}

func (c *cniCase) count(add, del usage) {
	c.add, c.del = append(c.add, add.took), append(c.del, del.took)
	c.addCPU, c.delCPU = c.addCPU+add.cpu, c.delCPU+del.cpu
}

// look finds the peak of memory, in lives that are not measured otherwise.
func (c *cniCase) look() error {
	for range memoryRuns {
		add, del, err := c.life(true)
		if err != nil {
			return err
		}
		c.memory = max(c.memory, add.memory, del.memory)
	}
	return nil
}

func (c *cniCase) figures() CNIFigures {
	n := float64(len(c.add)) * float64(time.Millisecond)
	return CNIFigures{
		Chain: c.name, Plugins: c.world.plugins.name, Add: percentiles(c.add), Del: percentiles(c.del),
		AddCPU: float64(c.addCPU) / n, DelCPU: float64(c.delCPU) / n, Memory: c.memory,
	}
}

// CrowdFigures tell whether ADD takes longer beside many.
type CrowdFigures struct {
	Chain, Plugins string
	Others         int // attachments that are there already
	Without, With  Percentiles
}

// measureCrowds measures, for what publishes ports, the worlds of before in turn with worlds that have many attachments.
func measureCrowds(ctx context.Context, o options, before []*cniCase, cu *cleanup.Stack) (list []CrowdFigures, err error) {
	var cases []*cniCase
	for _, c := range before {
		if !c.ports {
			continue
		}
		full, err := newCase(c.way, c.world.plugins, c.world.dir+"-crowd", cu)
		if err != nil {
			return nil, err
		}
		if err := full.fill(ctx, cu); err != nil {
			return nil, err
		}
		cases = append(cases, &cniCase{way: c.way, world: c.world, chain: c.chain}, full)
	}
	if err := inTurn(ctx, cases, cniRuns*o.runs/2); err != nil {
		return nil, err
	}
	for i := 0; i < len(cases); i += 2 {
		c := cases[i]
		list = append(list, CrowdFigures{c.name, c.world.plugins.name, crowd, percentiles(c.add), percentiles(cases[i+1].add)})
	}
	return list, nil
}

// fill attaches a crowd, which goes with the stack.
func (c *cniCase) fill(ctx context.Context, cu *cleanup.Stack) error {
	fmt.Fprintf(os.Stderr, "attaching %d pods: %s, %s\n", crowd, c.name, c.world.plugins.name)
	for range crowd {
		p, err := c.world.pod()
		if err != nil {
			return err
		}
		cu.Add(p.remove)
		if _, err = c.world.call("ADD", c.chain, p, false); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
