package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/netns"
)

// pluginSet is a folder of CNI plugins of one maker.
type pluginSet struct{ name, dir string }

// world is a node in a network namespace of its own, 192.0.2.1, with a machine outside, 192.0.2.2, which has no routes to pods.
type world struct {
	plugins       pluginSet
	dir           string
	host, outside *netns.Handle
	pods          int // made so far
}

// netPod is a network namespace that plugins attach to.
type netPod struct {
	id, dir, path string
	hostPort      int
	result        json.RawMessage // of the last plugin of ADD
}

const servedPort = 5001 // of pods, published

// newWorld makes a world below dir, which goes with the stack.
func newWorld(p pluginSet, dir string, cu *cleanup.Stack) (*world, error) {
	w := &world{plugins: p, dir: dir}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if w.host, err = namespace(filepath.Join(dir, "host"), cu); err != nil {
		return nil, err
	}
	if w.outside, err = namespace(filepath.Join(dir, "outside"), cu); err != nil {
		return nil, err
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "uplink", Flags: net.FlagUp, TxQLen: -1}, PeerName: "eth0",
		PeerNamespace: netlink.NsFd(int(w.outside.File().Fd())),
	}
	if err := w.host.Netlink().LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("make uplink: %w", err)
	}
	uplink, err := address(w.host, "uplink", "192.0.2.1/24")
	if err != nil {
		return nil, err
	}
	if _, err := address(w.outside, "eth0", "192.0.2.2/24"); err != nil {
		return nil, err
	}
	return w, w.host.Netlink().RouteAdd(&netlink.Route{LinkIndex: uplink.Attrs().Index, Gw: net.ParseIP("192.0.2.2")})
}

func namespace(dir string, cu *cleanup.Stack) (*netns.Handle, error) {
	pins, err := netns.Create(context.Background(), netns.Config{Dir: dir, Net: true})
	if err != nil {
		return nil, err
	}
	cu.Add(func() error { return netns.Remove(context.Background(), dir) })
	h, err := netns.Open(pins.Net)
	if err != nil {
		return nil, err
	}
	cu.Add(h.Close)
	return h, nil
}

func address(h *netns.Handle, name, text string) (netlink.Link, error) {
	l, err := h.Netlink().LinkByName(name)
	if err != nil {
		return nil, err
	}
	a, err := netlink.ParseAddr(text)
	if err != nil {
		return nil, err
	}
	return l, errors.Join(h.Netlink().AddrAdd(l, a), h.Netlink().LinkSetUp(l))
}

// pod makes a pod without a network.
func (w *world) pod() (*netPod, error) {
	w.pods++
	id := "pod-" + strconv.Itoa(w.pods)
	p := &netPod{id: id, dir: filepath.Join(w.dir, id), hostPort: 10000 + w.pods}
	pins, err := netns.Create(context.Background(), netns.Config{Dir: p.dir, Net: true})
	p.path = pins.Net
	return p, err
}

func (p *netPod) remove() error { return netns.Remove(context.Background(), p.dir) }

// object is a piece of JSON.
type object = map[string]any

func with(o object, key string, value any) object {
	o = maps.Clone(o)
	o[key] = value
	return o
}

// chain is what a runtime configures: plugins in the order of ADD.
type chain []object

// usage is what an ADD or a DEL of a whole chain has taken.
type usage struct {
	took, cpu time.Duration
	memory    int64 // bytes, at the peak of the largest plugin; 0 where nobody looked
}

// call runs a chain's plugins for one command, in the order that it wants.
func (w *world) call(verb string, c chain, p *netPod, look bool) (sum usage, err error) {
	c = slices.Clone(c)
	if verb == "DEL" {
		slices.Reverse(c)
	}
	for _, conf := range c {
		out, u, err := w.run(verb, conf, p, look)
		if err != nil {
			return sum, err
		}
		if verb == "ADD" {
			p.result = out
		}
		sum = usage{took: sum.took + u.took, cpu: sum.cpu + u.cpu, memory: max(sum.memory, u.memory)}
	}
	return sum, nil
}

// run executes a plugin in the node's namespace, as runtimes do. look makes it slower, and finds its peak of memory.
func (w *world) run(verb string, conf object, p *netPod, look bool) (stdout []byte, u usage, err error) {
	conf = with(with(conf, "cniVersion", "1.0.0"), "name", "net")
	if p.result != nil {
		conf["prevResult"] = p.result
	}
	if _, ok := conf["capabilities"]; ok {
		conf["runtimeConfig"] = object{"portMappings": []any{object{"hostPort": p.hostPort, "containerPort": servedPort, "protocol": "tcp"}}}
	}
	stdin, err := json.Marshal(conf)
	if err != nil {
		return nil, u, err
	}
	cmd := exec.Command(filepath.Join(w.plugins.dir, fmt.Sprint(conf["type"])))
	cmd.Env = []string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + p.id, "CNI_NETNS=" + p.path, "CNI_IFNAME=eth0", "CNI_PATH=" + w.plugins.dir,
		"PATH=" + os.Getenv("PATH"),
	}
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errOut
	err = w.host.Do(func() (err error) {
		began := time.Now()
		if look {
			u.memory, err = tracedPeak(cmd)
		} else {
			err = cmd.Run()
		}
		u.took = time.Since(began)
		return err
	})
	if err != nil {
		return nil, u, fmt.Errorf("%s of %s: %w: %s%s", verb, cmd.Path, err, out.Bytes(), errOut.Bytes())
	}
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return out.Bytes(), u, nil
}
