package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
)

// bridgeLifeCases ask about what comes after ADD: DEL, CHECK, GC, STATUS, and many at once.
func bridgeLifeCases() []testCase {
	return []testCase{
		{"bridge/second ADD of one interface is refused, the first stays", addTwice},
		{"bridge/DEL takes the interface away, twice", delTwice},
		{"bridge/DEL of what was never added", delUnknown},
		{"bridge/DEL when the namespace is gone leaves no link", delGone},
		{"bridge/ADD after DEL in the same namespace", addAgain},
		{"bridge/CHECK after ADD", checkGood},
		{"bridge/CHECK finds what is missing", checkBad},
		{"bridge/GC frees what is not valid and nothing else", collect},
		{"bridge/STATUS", statusGood},
		{"bridge/STATUS is code 50 when the addresses are used up", statusFull},
		{"bridge/STATUS of a bad configuration is code 7", statusBad},
		{"bridge/ADD without addresses left leaves nothing", poolEmpty},
		{"bridge/50 ADDs at once", parallel},
	}
}

func addTwice(e *env) error {
	c, _, raw, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	if _, _, err := e.add("bridge", c, e.bridge()); err == nil {
		return errors.New("the second ADD succeeded")
	}
	if err := e.check("bridge", c, e.bridge(), raw); err != nil {
		return fmt.Errorf("after the second ADD: %w", err)
	}
	return nil
}

func delTwice(e *env) error {
	c, _, _, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	for range 2 {
		if err := e.del("bridge", c, e.bridge()); err != nil {
			return err
		}
	}
	if _, err := c.ns.Netlink().LinkByName("eth0"); !errors.As(err, new(netlink.LinkNotFoundError)) {
		return saw(err, "eth0 is left")
	}
	return e.nothingReserved()
}

func delUnknown(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	return e.del("bridge", c, e.bridge())
}

func delGone(e *env) error {
	c, _, _, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	if err := c.remove(); err != nil {
		return err
	}
	if err := e.del("bridge", c, e.bridge()); err != nil {
		return err
	}
	if _, err := e.run(call{plugin: "bridge", verb: "DEL", c: c, unset: "CNI_NETNS"}, e.bridge()); err != nil {
		return fmt.Errorf("DEL without CNI_NETNS: %w", err)
	}
	return errors.Join(e.nothingReserved(), e.onlyLinks("br0"))
}

func addAgain(e *env) error {
	c, _, _, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	for range 3 {
		if err := e.del("bridge", c, e.bridge()); err != nil {
			return err
		}
		result, raw, err := e.add("bridge", c, e.bridge())
		if err != nil {
			return err
		}
		if err := e.check("bridge", c, e.bridge(), raw); err != nil {
			return err
		}
		if err := e.serve(c.ns, uint16(result.IPs[0].Address.IP[len(result.IPs[0].Address.IP)-1])+8000); err != nil {
			return err
		}
		if err := reach(e.host, hostPort(result.IPs[0].Address.IP.String(), int(result.IPs[0].Address.IP[len(result.IPs[0].Address.IP)-1])+8000), ""); err != nil {
			return err
		}
	}
	if left, err := links(c.ns); err != nil || len(left) > 2 {
		return saw(err, "the container has the links %v", left)
	}
	return nil
}

func checkGood(e *env) error {
	conf := with(e.dual(), object{"runtimeConfig": object{"portMappings": []any{object{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}}}})
	c, _, raw, err := e.attached("c1", conf)
	if err != nil {
		return err
	}
	return e.check("bridge", c, conf, raw)
}

// checkBad breaks one thing after another, each in a container of its own.
func checkBad(e *env) error {
	damages := map[string]func(c *container, hostEnd string) error{
		"interface down": func(c *container, _ string) error {
			l, err := c.ns.Netlink().LinkByName("eth0")
			if err != nil {
				return err
			}
			return c.ns.Netlink().LinkSetDown(l)
		},
		"address removed": func(c *container, _ string) error {
			l, err := c.ns.Netlink().LinkByName("eth0")
			if err != nil {
				return err
			}
			addrs, err := c.ns.Netlink().AddrList(l, netlink.FAMILY_V4)
			if err != nil {
				return err
			}
			return c.ns.Netlink().AddrDel(l, &addrs[0])
		},
		"default route removed": func(c *container, _ string) error {
			routes, err := c.ns.Netlink().RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{}, netlink.RT_FILTER_DST)
			if err != nil || len(routes) == 0 {
				return saw(err, "no default route")
			}
			return c.ns.Netlink().RouteDel(&routes[0])
		},
		"host end off the bridge": func(_ *container, hostEnd string) error {
			l, err := e.host.Netlink().LinkByName(hostEnd)
			if err != nil {
				return err
			}
			return e.host.Netlink().LinkSetNoMaster(l)
		},
		"reservation lost": func(*container, string) error { return os.RemoveAll(e.dir + "/ipam") },
	}
	var errs []error
	for i, name := range slices.Sorted(keys(damages)) {
		c, result, raw, err := e.attached(fmt.Sprint("c", i), e.bridge())
		if err != nil {
			return err
		}
		if err := damages[name](c, result.Interfaces[1].Name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if e.check("bridge", c, e.bridge(), raw) == nil {
			errs = append(errs, fmt.Errorf("CHECK says nothing about: %s", name))
		}
	}
	return errors.Join(errs...)
}

func collect(e *env) error {
	conf := with(e.bridge(), object{"runtimeConfig": object{"portMappings": []any{object{"hostPort": 8080, "containerPort": 80}}}})
	stale, _, _, err := e.attached("stale", conf)
	if err != nil {
		return err
	}
	kept, _, raw, err := e.attached("kept", e.bridge())
	if err != nil {
		return err
	}
	if err := stale.remove(); err != nil {
		return err
	}
	if err := e.gc("bridge", e.bridge(), kept); err != nil {
		return err
	}
	if err := e.check("bridge", kept, e.bridge(), raw); err != nil {
		return fmt.Errorf("the valid one after GC: %w", err)
	}
	if _, err := e.reserved("10.9.0.2"); err == nil {
		return errors.New("the address of the stale one is still reserved")
	}
	next, _, _, err := e.attached("next", conf)
	if err != nil {
		return fmt.Errorf("the published port of the stale one: %w", err)
	}
	if err := errors.Join(next.remove(), kept.remove()); err != nil {
		return err
	}
	return errors.Join(e.gc("bridge", e.bridge()), e.nothingReserved())
}

func statusGood(e *env) error { return e.status("bridge", e.bridge()) }

// tiny has room for one container.
func (e *env) tiny() object {
	return with(e.bridge(), object{"ipam": with(e.ipam(), object{"ranges": []any{[]any{object{"subnet": "10.9.0.0/30"}}}})})
}

func statusFull(e *env) error {
	if err := e.status("bridge", e.tiny()); err != nil {
		return err
	}
	if _, _, _, err := e.attached("c1", e.tiny()); err != nil {
		return err
	}
	return wantCode(e.status("bridge", e.tiny()), 50)
}

// statusBad has errors of the plugin's own and of its ipam section.
func statusBad(e *env) error {
	var errs []error
	for _, wrong := range []object{{"mtu": -1}, {"ipam": with(e.ipam(), object{"ranges": []any{}})}} {
		if err := wantCode(e.status("bridge", with(e.bridge(), wrong)), 7); err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", wrong, err))
		}
	}
	return errors.Join(errs...)
}

func poolEmpty(e *env) error {
	c1, _, _, err := e.attached("c1", e.tiny())
	if err != nil {
		return err
	}
	before, err := links(e.host)
	if err != nil {
		return err
	}
	c2, _, _, err := e.attached("c2", e.tiny())
	if wrong := wantCode(err, 11); wrong != nil {
		return wrong
	}
	after, err := links(e.host)
	if err != nil || !slices.Equal(before, after) {
		return saw(err, "links before %v, after %v", before, after)
	}
	if inside, err := links(c2.ns); err != nil || len(inside) > 0 {
		return saw(err, "links in the container: %v", inside)
	}
	if err := e.del("bridge", c1, e.tiny()); err != nil {
		return err
	}
	_, _, err = e.add("bridge", c2, e.tiny())
	return err
}

func parallel(e *env) error {
	const n = 50
	containers := make([]*container, n)
	for i := range containers {
		var err error
		if containers[i], err = e.container(fmt.Sprint("c", i)); err != nil {
			return err
		}
	}
	errs := make([]error, n)
	ips := make([]string, n)
	var wg sync.WaitGroup
	for i, c := range containers {
		wg.Go(func() {
			conf := with(e.bridge(), object{"runtimeConfig": object{"portMappings": []any{object{"hostPort": 9000 + i, "containerPort": 80}}}})
			result, raw, err := e.add("bridge", c, conf)
			if err == nil {
				ips[i] = result.IPs[0].Address.String()
				err = e.check("bridge", c, conf, raw)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	slices.Sort(ips)
	if len(slices.Compact(ips)) != n {
		return errors.New("two containers got one address")
	}
	for i, c := range containers {
		wg.Go(func() { errs[i] = e.del("bridge", c, e.bridge()) })
	}
	wg.Wait()
	return errors.Join(append(errs, e.nothingReserved())...)
}

// foreignIPAM delegates to an address management plugin of this very test: a script that notes its verbs.
func foreignIPAM(e *env) error {
	notes := filepath.Join(e.dir, "verbs")
	script := "#!/bin/sh\necho $CNI_COMMAND >> " + notes + "\n" + `case $CNI_COMMAND in ADD|STATUS)
echo '{"cniVersion":"1.1.0","code":123,"msg":"the foreign plugin says no"}'; exit 1;; esac
`
	dir := filepath.Join(e.dir, "bin")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "foreign"), []byte(script), 0o755)); err != nil {
		return err
	}
	e.path = e.plugins + ":" + dir
	conf := with(e.bridge(), object{"ipam": object{"type": "foreign"}})
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	_, err = e.run(call{plugin: "bridge", verb: "ADD", c: c}, conf)
	if wrong := wantCode(err, 123); wrong != nil {
		return wrong
	}
	if err := e.del("bridge", c, conf); err != nil {
		return err
	}
	if err := wantCode(e.status("bridge", conf), 123); err != nil {
		return fmt.Errorf("STATUS: %w", err)
	}
	if err := e.gc("bridge", conf); err != nil {
		return err
	}
	data, err := os.ReadFile(notes)
	if got := strings.Fields(string(data)); err != nil || !slices.Equal(got, []string{"ADD", "DEL", "DEL", "STATUS", "GC"}) {
		return saw(err, "the plugin was called with %v, want DEL after the failed ADD, then each verb", got)
	}
	return nil
}
