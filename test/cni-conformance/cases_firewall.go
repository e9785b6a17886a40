package main

import (
	"errors"
	"fmt"
	"sync"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/nftables"

	"github.com/berth-runtime/berth/netns"
)

func (e *env) firewall() object {
	return object{"cniVersion": "1.1.0", "name": "net", "type": "firewall", "ingressPolicy": "same-bridge"}
}

// firewallCases ask the plugin that keeps containers apart.
func firewallCases() []testCase {
	return []testCase{
		{"firewall/open: everybody reaches everybody", wallOpen},
		{"firewall/same-bridge: the own bridge, the host, the outside, not other bridges", wallBetween},
		{"firewall/same-bridge: networks without a policy are left alone", wallNoPolicy},
		{"firewall/isolated: not the own bridge either", wallIsolated},
		{"firewall/isolated: published ports work from outside", wallPublished},
		{"firewall/DEL takes away what ADD made", wallDel},
		{"firewall/GC removes what is not valid and nothing else", wallGC},
		{"firewall/CHECK finds lost rules", wallCheck},
		{"firewall/a flushed ruleset comes back with the next ADD", wallFlushed},
		{"firewall/30 ADDs and DELs at once", wallParallel},
		{"firewall/an unknown policy is code 7", wallBad},
	}
}

// first is a network that berth's bridge plugin does not keep from others by itself.
func (e *env) first() object {
	return with(e.dual(), object{"ipMasq": false, "isolation": "none"})
}

// second is another one, on a bridge of its own.
func (e *env) second(name, bridge, v4, v6 string) object {
	return with(e.first(), object{"name": name, "bridge": bridge, "ipam": with(e.ipam(), object{"ranges": []any{
		[]any{object{"subnet": v4}}, []any{object{"subnet": v6}},
	}})})
}

// member is a container that serves on port 80, and its addresses.
type member struct {
	*container
	v4, v6 string
}

// join attaches a container to a bridge, then calls the firewall plugin, unless policy is "".
func (e *env) join(name string, network object, policy string) (member, error) {
	c, result, raw, err := e.attached(name, network)
	if err != nil {
		return member{}, err
	}
	m := member{c, addressOf(result, 0), addressOf(result, 1)}
	if policy != "" {
		conf := with(e.firewall(), object{"name": network["name"], "ingressPolicy": policy, "prevResult": raw})
		if _, _, err := e.add("firewall", c, conf); err != nil {
			return member{}, err
		}
	}
	return m, e.serve(c.ns, 80)
}

func addressOf(r *current.Result, i int) string {
	if i >= len(r.IPs) {
		return ""
	}
	return r.IPs[i].Address.IP.String()
}

// reaches asks a member at all its addresses, by tcp and udp, and says what is wrong if the answers are not as wanted.
func reaches(who string, from *netns.Handle, to member, want bool) error {
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i, address := range []string{to.v4, to.v6} {
		if address == "" {
			continue
		}
		target := hostPort(address, 80)
		wg.Go(func() {
			if want {
				errs[i] = reach(from, target, "")
			} else {
				errs[i] = refused(from, "tcp", target)
			}
		})
		if !want && i == 0 {
			wg.Go(func() { errs[2] = refused(from, "udp", target) })
		}
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	return nil
}

// twoNetworks are two containers in one network and one in another, and a machine outside that has routes to both.
func (e *env) twoNetworks(policy string) (a, b, other member, outside *netns.Handle, err error) {
	if outside, err = e.outside(); err != nil {
		return a, b, other, nil, err
	}
	first := e.first()
	if a, err = e.join("a", first, policy); err != nil {
		return a, b, other, nil, err
	}
	if b, err = e.join("b", first, policy); err != nil {
		return a, b, other, nil, err
	}
	if other, err = e.join("other", e.second("net2", "br1", "10.10.0.0/24", "fd10::/64"), policy); err != nil {
		return a, b, other, nil, err
	}
	l, err := outside.Netlink().LinkByName("eth0")
	if err != nil {
		return a, b, other, nil, err
	}
	for dst, gateway := range map[string]string{
		"10.9.0.0/24": "192.0.2.1", "10.10.0.0/24": "192.0.2.1", "fd09::/64": "2001:db8::1", "fd10::/64": "2001:db8::1",
	} {
		err = errors.Join(err, routeOut(outside, l.Attrs().Index, dst, gateway))
	}
	return a, b, other, outside, err
}

func wallOpen(e *env) error {
	a, b, other, outside, err := e.twoNetworks("open")
	if err != nil {
		return err
	}
	return errors.Join(
		reaches("in one network", a.ns, b, true), reaches("across networks", a.ns, other, true), reaches("back", other.ns, a, true),
		reaches("from outside", outside, a, true), reaches("from the host", e.host, a, true))
}

func wallBetween(e *env) error {
	a, b, other, outside, err := e.twoNetworks("same-bridge")
	if err != nil {
		return err
	}
	if err := e.serve(outside, 80); err != nil {
		return err
	}
	return errors.Join(
		reaches("in one network", a.ns, b, true), reaches("across networks", a.ns, other, false), reaches("back", other.ns, a, false),
		reaches("from outside", outside, a, true), reaches("from the host", e.host, a, true),
		reaches("to the outside", a.ns, member{nil, "192.0.2.2", "2001:db8::2"}, true))
}

func wallNoPolicy(e *env) error {
	a, _, _, _, err := e.twoNetworks("same-bridge")
	if err != nil {
		return err
	}
	free, err := e.join("free", e.second("net3", "br2", "10.11.0.0/24", "fd11::/64"), "")
	if err != nil {
		return err
	}
	return errors.Join(reaches("from a network without a policy", free.ns, a, true), reaches("to it", a.ns, free, true))
}

func wallIsolated(e *env) error {
	a, b, other, outside, err := e.twoNetworks("isolated")
	if err != nil {
		return err
	}
	return errors.Join(
		reaches("in one network", a.ns, b, false), reaches("across networks", a.ns, other, false),
		reaches("from outside", outside, a, true), reaches("from the host", e.host, a, true))
}

func wallPublished(e *env) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	c, _, raw, err := e.published("c1", e.bridge(), both(8080, 80, ""))
	if err != nil {
		return err
	}
	if _, _, err := e.add("firewall", c, with(e.firewall(), object{"ingressPolicy": "isolated", "prevResult": raw})); err != nil {
		return err
	}
	return errors.Join(reach(outside, "192.0.2.1:8080", ""), reach(e.host, "127.0.0.1:8080", ""))
}

func wallDel(e *env) error {
	a, _, other, _, err := e.twoNetworks("same-bridge")
	if err != nil {
		return err
	}
	for range 2 {
		if err := e.del("firewall", a.container, e.firewall()); err != nil {
			return err
		}
	}
	return errors.Join(reaches("to one whose policy is gone", other.ns, a, true), reaches("from it to the other one", a.ns, other, false))
}

func wallGC(e *env) error {
	a, b, other, _, err := e.twoNetworks("same-bridge")
	if err != nil {
		return err
	}
	if err := e.gc("firewall", e.firewall(), b.container); err != nil {
		return err
	}
	return errors.Join(
		reaches("to what was not valid", other.ns, a, true), reaches("to what was valid", other.ns, b, false),
		reaches("to another network", b.ns, other, false))
}

// flushRuleset does on the host what "nft flush ruleset" does.
func (e *env) flushRuleset() error {
	return e.host.Do(func() error {
		c, err := nftables.New(nftables.AsLasting())
		if err != nil {
			return err
		}
		c.FlushRuleset()
		return errors.Join(c.Flush(), c.CloseLasting())
	})
}

func wallCheck(e *env) error {
	c, _, raw, err := e.behind("c1", "firewall", e.firewall())
	if err != nil {
		return err
	}
	if err := errors.Join(e.check("firewall", c, e.firewall(), raw), e.flushRuleset()); err != nil {
		return err
	}
	if e.check("firewall", c, e.firewall(), raw) == nil {
		return errors.New("CHECK says nothing about an empty ruleset")
	}
	return nil
}

func wallFlushed(e *env) error {
	_, b, other, _, err := e.twoNetworks("same-bridge")
	if err != nil {
		return err
	}
	if err := e.flushRuleset(); err != nil {
		return err
	}
	c, err := e.join("c", e.first(), "same-bridge")
	if err != nil {
		return err
	}
	d, err := e.join("d", e.second("net2", "br1", "10.10.0.0/24", "fd10::/64"), "same-bridge")
	if err != nil {
		return err
	}
	return errors.Join(reaches("across networks", other.ns, c, false), reaches("back", b.ns, d, false))
}

func wallParallel(e *env) error {
	const n = 30
	containers, results, errs := make([]*container, n), make([]object, n), make([]error, n)
	for i := range containers {
		var err error
		if containers[i], _, results[i], err = e.attached(fmt.Sprint("c", i), e.bridge()); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	for i, c := range containers {
		wg.Go(func() {
			_, raw, err := e.add("firewall", c, with(e.firewall(), object{"prevResult": results[i]}))
			if err == nil {
				err = e.check("firewall", c, e.firewall(), raw)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, c := range containers[1:] {
		wg.Go(func() { errs[i] = e.del("firewall", c, e.firewall()) })
	}
	wg.Wait()
	return errors.Join(append(errs, e.check("firewall", containers[0], e.firewall(), results[0]))...)
}

func wallBad(e *env) error {
	c, _, raw, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	_, _, err = e.add("firewall", c, with(e.firewall(), object{"ingressPolicy": "closed", "prevResult": raw}))
	return wantCode(err, 7)
}
