package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/netns"
)

// bandwidth limits to one kilobyte a second, two at once: of a flood, a handful of packets passes.
func (e *env) bandwidth() object {
	return object{
		"cniVersion": "1.1.0", "name": "net", "type": "bandwidth",
		"ingressRate": 8_000, "ingressBurst": 16_000, "egressRate": 8_000, "egressBurst": 16_000,
	}
}

// bandwidthCases ask the plugin that limits what a container receives and sends.
func bandwidthCases() []testCase {
	return []testCase{
		{"bandwidth/both directions are limited", limitBoth},
		{"bandwidth/one direction", limitOne},
		{"bandwidth/capability", limitCapability},
		{"bandwidth/nothing asked for changes nothing", limitNothing},
		{"bandwidth/unshapedSubnets", func(e *env) error { return limitSome(e, "unshapedSubnets", "10.9.0.3/32", "fd09::3/128") }},
		{"bandwidth/shapedSubnets", func(e *env) error { return limitSome(e, "shapedSubnets", "10.9.0.1/32", "fd09::1/128") }},
		{"bandwidth/DEL leaves no link, also when the namespace is gone", limitGone},
		{"bandwidth/DEL of one interface leaves the other's limit", limitSecond},
		{"bandwidth/a failed ADD leaves nothing", limitFails},
		{"bandwidth/CHECK finds what is missing", limitCheck},
		{"bandwidth/GC removes links of what is not valid", limitGC},
		{"bandwidth/bad values are code 7", limitBad},
	}
}

// floodSize is how many packets a flood has; so many pass without a limit, and less than a third with one.
const floodSize = 60

// flood sends packets and returns how many arrive.
func flood(from, to *netns.Handle, address string) (arrived int, err error) {
	var in net.PacketConn
	var out net.Conn
	err = to.Do(func() (err error) { in, err = net.ListenPacket("udp", net.JoinHostPort(address, "9")); return err })
	if err != nil {
		return 0, err
	}
	defer in.Close()
	err = from.Do(func() (err error) { out, err = net.Dial("udp", net.JoinHostPort(address, "9")); return err })
	if err != nil {
		return 0, err
	}
	defer out.Close()
	go func() {
		for range floodSize {
			_, _ = out.Write(make([]byte, 500)) // what is not sent does not arrive
		}
	}()
	buf, wait := make([]byte, 600), answerTime // for the first one, as neighbours must be found
	for arrived < floodSize {
		if err := in.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return 0, err
		}
		if _, _, err := in.ReadFrom(buf); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			return 0, err
		}
		arrived, wait = arrived+1, silenceTime
		if arrived > floodSize/3 {
			wait = answerTime
		}
	}
	return arrived, nil
}

func wantFlood(what string, from, to *netns.Handle, address string, limited bool) error {
	n, err := flood(from, to, address)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if limited && n > floodSize/3 || !limited && n < floodSize {
		return fmt.Errorf("%s: %d of %d packets arrive, limited should be %v", what, n, floodSize, limited)
	}
	return nil
}

// pair makes the container that is limited, 10.9.0.2, and another one, 10.9.0.3; the bridge is 10.9.0.1.
func (e *env) pair(conf object) (a, b *container, after object, err error) {
	a, _, before, err := e.attached("a", e.dual())
	if err != nil {
		return nil, nil, nil, err
	}
	if b, _, _, err = e.attached("b", e.dual()); err != nil {
		return nil, nil, nil, err
	}
	_, after, err = e.add("bandwidth", a, with(conf, object{"prevResult": before}))
	return a, b, after, err
}

func limitBoth(e *env) error {
	a, b, _, err := e.pair(e.bandwidth())
	if err != nil {
		return err
	}
	return errors.Join(
		wantFlood("towards the container", b.ns, a.ns, "10.9.0.2", true), wantFlood("from the container", a.ns, b.ns, "10.9.0.3", true),
		wantFlood("towards the container, IPv6", b.ns, a.ns, "fd09::2", true), wantFlood("from the container, IPv6", a.ns, b.ns, "fd09::3", true),
		wantFlood("from the host to the other one", e.host, b.ns, "10.9.0.3", false))
}

func limitOne(e *env) error {
	for i, keys := range []object{{"ingressRate": nil, "ingressBurst": nil}, {"egressRate": nil, "egressBurst": nil}} {
		a, _, _, err := e.behind(fmt.Sprint("c", i), "bandwidth", with(e.bandwidth(), keys))
		if err != nil {
			return err
		}
		err = errors.Join(
			wantFlood("towards the container", e.host, a.ns, fmt.Sprint("10.9.0.", 2+i), i == 1), wantFlood("from the container", a.ns, e.host, "10.9.0.1", i == 0))
		if err != nil {
			return err
		}
	}
	return nil
}

func limitCapability(e *env) error {
	limits := with(e.bandwidth(), object{"cniVersion": nil, "name": nil, "type": nil})
	conf := object{"cniVersion": "1.1.0", "name": "net", "type": "bandwidth", "runtimeConfig": object{"bandwidth": limits}}
	a, b, after, err := e.pair(conf)
	if err != nil {
		return err
	}
	return errors.Join(
		e.check("bandwidth", a, conf, after),
		wantFlood("towards the container", b.ns, a.ns, "10.9.0.2", true), wantFlood("from the container", a.ns, b.ns, "10.9.0.3", true))
}

func limitNothing(e *env) error {
	conf := object{"cniVersion": "1.1.0", "name": "net", "type": "bandwidth"}
	c, before, after, err := e.behind("c1", "bandwidth", conf)
	if err != nil {
		return err
	}
	if fmt.Sprint(after) != fmt.Sprint(before) {
		return fmt.Errorf("it made %v of %v", after, before)
	}
	return errors.Join(e.check("bandwidth", c, conf, after), wantFlood("from the container", c.ns, e.host, "10.9.0.1", false), e.del("bandwidth", c, conf))
}

// limitSome limits what the host sends and gets, not what the other container does.
func limitSome(e *env, key string, subnets ...string) error {
	conf := with(e.bandwidth(), object{key: subnets})
	a, b, after, err := e.pair(conf)
	if err != nil {
		return err
	}
	return errors.Join(
		e.check("bandwidth", a, conf, after),
		wantFlood("from the host", e.host, a.ns, "10.9.0.2", true), wantFlood("to the host", a.ns, e.host, "10.9.0.1", true),
		wantFlood("from the other one", b.ns, a.ns, "10.9.0.2", false), wantFlood("to the other one", a.ns, b.ns, "10.9.0.3", false),
		wantFlood("from the host, IPv6", e.host, a.ns, "fd09::2", true), wantFlood("to the host, IPv6", a.ns, e.host, "fd09::1", true),
		wantFlood("from the other one, IPv6", b.ns, a.ns, "fd09::2", false), wantFlood("to the other one, IPv6", a.ns, b.ns, "fd09::3", false),
	)
}

// ifbs lists the links that were made for limits.
func (e *env) ifbs() ([]string, error) {
	list, err := e.host.Netlink().LinkList()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range list {
		if l.Type() == "ifb" {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, nil
}

func (e *env) wantIfbs(n int) error {
	if list, err := e.ifbs(); err != nil || len(list) != n {
		return saw(err, "ifb links %v, want %d", list, n)
	}
	return nil
}

func limitGone(e *env) error {
	for i, remove := range []bool{false, true} {
		c, _, _, err := e.behind(fmt.Sprint("c", i), "bandwidth", e.bandwidth())
		if err != nil {
			return err
		}
		if err := e.wantIfbs(1); err != nil {
			return err
		}
		if remove {
			err = c.remove()
		}
		if err := errors.Join(err, e.del("bandwidth", c, e.bandwidth()), e.wantIfbs(0)); err != nil {
			return err
		}
	}
	return nil
}

func limitSecond(e *env) error {
	c, _, after, err := e.behind("c1", "bandwidth", e.bandwidth())
	if err != nil {
		return err
	}
	out, err := e.run(call{plugin: "bridge", verb: "ADD", c: c, ifName: "eth1"}, with(e.bridge(), object{"isDefaultGateway": nil, "isGateway": true}))
	if err != nil {
		return err
	}
	second := with(e.bandwidth(), object{"prevResult": json.RawMessage(out)})
	if _, err := e.run(call{plugin: "bandwidth", verb: "ADD", c: c, ifName: "eth1"}, second); err != nil {
		return err
	}
	if _, err := e.run(call{plugin: "bandwidth", verb: "DEL", c: c, ifName: "eth1"}, second); err != nil {
		return err
	}
	return errors.Join(e.wantIfbs(1), e.check("bandwidth", c, e.bandwidth(), after))
}

// limitFails puts a queue of another kind in the way.
func limitFails(e *env) error {
	c, result, raw, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	l, err := e.host.Netlink().LinkByName(result.Interfaces[1].Name)
	if err != nil {
		return err
	}
	if err := e.host.Netlink().QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}); err != nil {
		return err
	}
	if _, _, err := e.add("bandwidth", c, with(e.bandwidth(), object{"prevResult": raw})); err == nil {
		return errors.New("it succeeded")
	}
	return errors.Join(e.wantIfbs(0), wantFlood("towards the container", e.host, c.ns, "10.9.0.2", false))
}

// limitCheck breaks one thing after another, each in a container of its own.
func limitCheck(e *env) error {
	h := e.host.Netlink()
	var errs []error
	for i, damage := range []struct {
		what string
		do   func(hostEnd, ifb netlink.Link) error
	}{
		{"the ifb link", func(_, ifb netlink.Link) error { return h.LinkDel(ifb) }},
		{"the queue of the ifb link", func(_, ifb netlink.Link) error { return e.dropQueue(ifb, "tbf") }},
		{"the queue of the host's link", func(hostEnd, _ netlink.Link) error { return e.dropQueue(hostEnd, "tbf") }},
		{"the way to the ifb link", func(hostEnd, _ netlink.Link) error { return e.dropQueue(hostEnd, "ingress") }},
	} {
		name := fmt.Sprint("c", i)
		c, _, after, err := e.behind(name, "bandwidth", e.bandwidth())
		if err != nil {
			return err
		}
		if err := e.check("bandwidth", c, e.bandwidth(), after); err != nil {
			return err
		}
		names, err := e.ifbs()
		if err != nil || len(names) != 1 {
			return saw(err, "ifb links %v", names)
		}
		ifb, err := h.LinkByName(names[0])
		if err != nil {
			return err
		}
		result, _, err := resultOf("1.1.0", after)
		if err != nil {
			return err
		}
		hostEnd, err := h.LinkByName(result.Interfaces[1].Name)
		if err != nil {
			return err
		}
		if err := damage.do(hostEnd, ifb); err != nil {
			return fmt.Errorf("%s: %w", damage.what, err)
		}
		if e.check("bandwidth", c, e.bandwidth(), after) == nil {
			errs = append(errs, fmt.Errorf("CHECK says nothing about %s", damage.what))
		}
		errs = append(errs, e.del("bandwidth", c, e.bandwidth()))
	}
	return errors.Join(errs...)
}

func (e *env) dropQueue(l netlink.Link, kind string) error {
	list, err := e.host.Netlink().QdiscList(l)
	if err != nil {
		return err
	}
	for _, q := range list {
		if q.Type() == kind {
			return e.host.Netlink().QdiscDel(q)
		}
	}
	return fmt.Errorf("%s has no %s", l.Attrs().Name, kind)
}

func limitGC(e *env) error {
	stale, _, _, err := e.behind("stale", "bandwidth", e.bandwidth())
	if err != nil {
		return err
	}
	kept, _, after, err := e.behind("kept", "bandwidth", e.bandwidth())
	if err != nil {
		return err
	}
	if err := errors.Join(stale.remove(), e.gc("bandwidth", with(e.bandwidth(), object{"name": "other"})), e.wantIfbs(2)); err != nil {
		return err
	}
	return errors.Join(e.gc("bandwidth", e.bandwidth(), kept), e.wantIfbs(1), e.check("bandwidth", kept, e.bandwidth(), after))
}

func limitBad(e *env) error {
	c, _, raw, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	var errs []error
	for _, wrong := range []object{
		{"ingressBurst": nil},
		{"egressRate": nil},
		{"egressBurst": 1 << 40},
		{"shapedSubnets": []string{"x"}},
		{"shapedSubnets": []string{"10.0.0.0/8"}, "unshapedSubnets": []string{"10.0.0.0/8"}},
	} {
		_, _, err := e.add("bandwidth", c, with(with(e.bandwidth(), wrong), object{"prevResult": raw}))
		if bad := wantCode(err, 7); bad != nil {
			errs = append(errs, fmt.Errorf("%v: %w", wrong, bad))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err = e.run(call{plugin: "bandwidth", verb: "ADD", c: c, ifName: "lo"}, with(e.bandwidth(), object{"prevResult": raw}))
	if bad := wantCode(err, 7); bad != nil || !strings.Contains(err.Error(), "veth") {
		return fmt.Errorf("an interface that is no veth: %w", bad)
	}
	return nil
}
