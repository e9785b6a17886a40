package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/netns"
)

// testCase is one question to the plugins.
type testCase struct {
	name string
	ask  func(*env) error
}

// lacking is the answer of a case that can't be asked on this kernel: what the kernel lacks.
type lacking string

func (l lacking) Error() string { return "this kernel has no " + string(l) }

// run gives the case a world of its own and takes it away afterwards.
func (c testCase) run(plugins string) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	dir, err := os.MkdirTemp("", "cni-conformance-")
	if err != nil {
		return err
	}
	cu.Add(func() error { return os.RemoveAll(dir) })
	e := &env{plugins: plugins, path: plugins, dir: dir, cu: cu}
	if e.host, err = e.namespace("host"); err != nil {
		return err
	}
	if err := e.speak(); err != nil {
		return err
	}
	return c.ask(e)
}

func allCases() []testCase {
	return slices.Concat(frameCases(), bridgeCases(), bridgeLifeCases(), hostLocalCases(), portCases(), reachCases(), crashCases(), stormCases(), chainCases(),
		chainedCases(), tuningCases(), staticCases(), bandwidthCases(), apartCases(), firewallCases(), nameCases(), reloadCases(), guardCases())
}

// env is the world of one case: a host, the containers on it, and folders.
type env struct {
	plugins string
	path    string // CNI_PATH
	version string // of the specification, instead of the newest; see speak
	dir     string
	host    *netns.Handle
	cu      *cleanup.Stack
}

// container is a network namespace that plugins attach to.
type container struct {
	id, path string
	ns       *netns.Handle
	remove   func() error
}

func (e *env) namespace(name string) (*netns.Handle, error) {
	c, err := e.container(name)
	if err != nil {
		return nil, err
	}
	return c.ns, nil
}

func (e *env) container(name string) (*container, error) {
	dir := filepath.Join(e.dir, "ns-"+name)
	pins, err := netns.Create(context.Background(), netns.Config{Dir: dir, Net: true})
	if err != nil {
		return nil, err
	}
	e.cu.Add(func() error { return netns.Remove(context.Background(), dir) })
	ns, err := netns.Open(pins.Net)
	if err != nil {
		return nil, err
	}
	c := &container{id: name, path: pins.Net, ns: ns}
	c.remove = func() error {
		if c.ns == nil {
			return nil
		}
		err := c.ns.Close()
		c.ns = nil
		return errors.Join(err, netns.Remove(context.Background(), dir))
	}
	e.cu.Add(c.remove)
	return c, nil
}

// settleTime bounds how long the kernel may take to make addresses of IPv6 usable.
const settleTime = 30 * time.Second

// outside makes a second machine, 192.0.2.2 and 2001:db8::2, next to the host, which is 192.0.2.1 and 2001:db8::1. It has no
// routes to containers.
func (e *env) outside() (*netns.Handle, error) {
	o, err := e.namespace("outside")
	if err != nil {
		return nil, err
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "uplink", Flags: net.FlagUp, MTU: 1400}, PeerName: "eth0", PeerMTU: 1400,
		PeerNamespace: netlink.NsFd(int(o.File().Fd())),
	}
	if err := e.host.Netlink().LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("make uplink: %w", err)
	}
	err = errors.Join(
		address(e.host, "uplink", "192.0.2.1/24"), address(e.host, "uplink", "2001:db8::1/64"),
		address(o, "eth0", "192.0.2.2/24"), address(o, "eth0", "2001:db8::2/64"),
	)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	return o, errors.Join(e.host.AwaitLocal(ctx, netip.MustParseAddr("2001:db8::1")), o.AwaitLocal(ctx, netip.MustParseAddr("2001:db8::2")))
}

// defaultRoute gives the host a default route through machines outside.
func (e *env) defaultRoute(gateways ...string) error {
	l, err := e.host.Netlink().LinkByName("uplink")
	if err != nil {
		return err
	}
	hops := []*netlink.NexthopInfo{}
	for _, gateway := range gateways {
		hops = append(hops, &netlink.NexthopInfo{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(gateway)})
	}
	return e.host.Netlink().RouteReplace(&netlink.Route{Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, MultiPath: hops})
}

func address(h *netns.Handle, link, text string) error {
	l, err := h.Netlink().LinkByName(link)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(text)
	if err != nil {
		return err
	}
	a.Flags = 2 // IFA_F_NODAD
	return errors.Join(h.Netlink().AddrAdd(l, a), h.Netlink().LinkSetUp(l))
}

// links lists the names of the links of a namespace, lo aside.
func links(h *netns.Handle) ([]string, error) {
	list, err := h.Netlink().LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) { // a link has come or gone meanwhile
		list, err = h.Netlink().LinkList()
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range list {
		if l.Attrs().Name != "lo" {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, nil
}
