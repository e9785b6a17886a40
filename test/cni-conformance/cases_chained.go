package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// chained is a plugin that stands behind another in a chain, with a configuration that gives it something to do.
type chained struct {
	name string
	conf func(*env) object
}

func allChained() []chained {
	return []chained{{"tuning", (*env).tuning}, {"bandwidth", (*env).bandwidth}, {"firewall", (*env).firewall}}
}

// chainedCases ask what all of these have to do, whatever their business is.
func chainedCases() []testCase {
	var cases []testCase
	for _, p := range allChained() {
		cases = append(cases,
			testCase{p.name + "/passes on what it does not change", func(e *env) error { return passesOn(e, p) }},
			testCase{p.name + "/needs prevResult", func(e *env) error {
				return e.frame(p.name, wantCodes(7), call{verb: "ADD"}, p.conf(e))
			}},
			testCase{p.name + "/every version from 0.3.1", func(e *env) error { return everyVersion(e, p) }},
			testCase{p.name + "/ADD, CHECK, DEL, CHECK", func(e *env) error { return lifeOf(e, p) }},
			testCase{p.name + "/DEL twice, without prevResult, without a namespace, of what was never added", func(e *env) error { return delAnything(e, p) }},
			testCase{p.name + "/STATUS and GC", func(e *env) error { return errors.Join(e.status(p.name, p.conf(e)), e.gc(p.name, p.conf(e))) }},
		)
	}
	return cases
}

// behind attaches a container by bridge and then adds a chained plugin.
func (e *env) behind(name, plugin string, conf object) (c *container, before, after object, err error) {
	c, _, before, err = e.attached(name, e.bridge())
	if err != nil {
		return nil, nil, nil, err
	}
	_, after, err = e.add(plugin, c, with(conf, object{"prevResult": before}))
	return c, before, after, err
}

// passesOn gives every field of a result that a plugin could lose.
func passesOn(e *env, p chained) error {
	c, _, raw, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	raw["routes"] = []any{object{"dst": "10.0.0.0/8", "gw": "10.9.0.3", "mtu": 1300, "advmss": 1200, "priority": 7, "table": 5, "scope": 0}}
	raw["dns"] = object{"nameservers": []any{"192.0.2.53"}, "domain": "example", "search": []any{"a.example"}, "options": []any{"ndots:2"}}
	interfaces, _ := raw["interfaces"].([]any)
	for i, l := range interfaces {
		l, _ := l.(object)
		l["mtu"], l["pciID"], l["socketPath"] = 1234, "0000:00:1f.6", "/run/x"
		if i < 2 {
			l["mac"] = "0a:00:00:00:00:09"
		}
	}
	before, _, err := resultOf("1.1.0", raw)
	if err != nil {
		return err
	}
	after, _, err := e.add(p.name, c, with(p.conf(e), object{"prevResult": raw}))
	if err != nil {
		return err
	}
	was, wasErr := json.Marshal([]any{before.IPs, before.Routes, before.DNS})
	is, isErr := json.Marshal([]any{after.IPs, after.Routes, after.DNS})
	if err := errors.Join(wasErr, isErr); err != nil || string(is) != string(was) {
		return saw(err, "it made %s of %s", is, was)
	}
	for i, l := range before.Interfaces {
		if i < 2 && *l != *after.Interfaces[i] || l.PciID != after.Interfaces[i].PciID || l.SocketPath != after.Interfaces[i].SocketPath {
			return fmt.Errorf("it made %+v of interface %+v", after.Interfaces[i], l)
		}
	}
	return nil
}

func everyVersion(e *env, p chained) error {
	for i, v := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		c, _, raw, err := e.attached(fmt.Sprint("c", i), with(e.bridge(), object{"cniVersion": v}))
		if err != nil {
			return err
		}
		conf := with(p.conf(e), object{"cniVersion": v})
		if _, _, err := e.add(p.name, c, with(conf, object{"prevResult": raw})); err != nil {
			return fmt.Errorf("version %s: %w", v, err)
		}
		if err := e.del(p.name, c, with(conf, object{"prevResult": raw})); err != nil {
			return fmt.Errorf("version %s: %w", v, err)
		}
	}
	return nil
}

func lifeOf(e *env, p chained) error {
	c, before, after, err := e.behind("c1", p.name, p.conf(e))
	if err != nil {
		return err
	}
	if err := e.check(p.name, c, p.conf(e), after); err != nil {
		return err
	}
	if err := e.del(p.name, c, with(p.conf(e), object{"prevResult": after})); err != nil {
		return err
	}
	if e.check(p.name, c, p.conf(e), after) == nil {
		return errors.New("CHECK succeeds after DEL")
	}
	// And once more in the same namespace.
	_, after, err = e.add(p.name, c, with(p.conf(e), object{"prevResult": before}))
	if err != nil {
		return err
	}
	return e.check(p.name, c, p.conf(e), after)
}

func delAnything(e *env, p chained) error {
	c, _, _, err := e.behind("c1", p.name, p.conf(e))
	if err != nil {
		return err
	}
	gone, _, _, err := e.behind("c2", p.name, p.conf(e))
	if err != nil {
		return err
	}
	unknown, err := e.container("c3")
	if err != nil {
		return err
	}
	if err := gone.remove(); err != nil {
		return err
	}
	var errs []error
	for _, c := range slices.Repeat([]*container{c, gone, unknown}, 2) {
		errs = append(errs, e.del(p.name, c, p.conf(e)))
	}
	_, err = e.run(call{plugin: p.name, verb: "DEL", c: c, unset: "CNI_NETNS"}, p.conf(e))
	return errors.Join(append(errs, err)...)
}
