package main

import (
	"errors"
	"fmt"
	"strings"
)

// static is a configuration with two fixed addresses.
func (e *env) static(changes object) object {
	return object{"cniVersion": "1.1.0", "name": "net", "type": "static", "ipam": with(object{
		"type":      "static",
		"addresses": []any{object{"address": "10.9.0.7/24", "gateway": "10.9.0.1"}, object{"address": "fd09::7/64"}},
		"routes": []any{object{"dst": "0.0.0.0/0"}, object{
			"dst": "10.0.0.0/8", "gw": "10.9.0.3", "mtu": 1300, "advmss": 1200, "priority": 7, "table": 5, "scope": 0,
		}},
		"dns": object{"nameservers": []any{"192.0.2.53"}, "domain": "example", "search": []any{"a.example"}, "options": []any{"ndots:2"}},
	}, changes)}
}

// staticCases ask the address management plugin with fixed addresses.
func staticCases() []testCase {
	return []testCase{
		{"static/addresses, gateway, routes with all fields, dns", staticResult},
		{"static/every version", staticVersions},
		{"static/CNI_ARGS add addresses and gateways", staticEnvironment},
		{"static/args and capability replace addresses", staticReplaced},
		{"static/behind bridge", staticBridge},
		{"static/DEL, GC, STATUS", staticRest},
		{"static/CHECK finds a missing address and another gateway", staticCheck},
		{"static/bad addresses are code 7", staticBad},
	}
}

func staticResult(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	r, raw, err := e.add("static", c, e.static(nil))
	if err := wantAddresses(r, err, "10.9.0.7/24 fd09::7/64"); err != nil {
		return err
	}
	if r.IPs[0].Gateway.String() != "10.9.0.1" || r.IPs[1].Gateway != nil {
		return fmt.Errorf("gateways %v", raw)
	}
	ipam, _ := e.static(nil)["ipam"].(object)
	if fmt.Sprint(raw["routes"], raw["dns"]) != fmt.Sprint(ipam["routes"], ipam["dns"]) {
		return fmt.Errorf("routes and dns %v", raw)
	}
	return nil
}

func staticVersions(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	for _, v := range []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		r, _, err := e.add("static", c, with(e.static(nil), object{"cniVersion": v}))
		if err := wantAddresses(r, err, "10.9.0.7/24 fd09::7/64"); err != nil {
			return fmt.Errorf("version %s: %w", v, err)
		}
	}
	two := object{"addresses": []any{object{"address": "10.9.0.7/24"}, object{"address": "10.9.0.8/24"}}}
	if _, _, err := e.add("static", c, with(e.static(two), object{"cniVersion": "0.2.0"})); err == nil {
		return errors.New("version 0.2.0 with two addresses of a family succeeds")
	}
	return nil
}

func staticEnvironment(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	out, err := e.run(call{
		plugin: "static", verb: "ADD", c: c, args: "IgnoreUnknown=1;IP=10.10.0.7/24, fd10::7/64;GATEWAY=10.10.0.1,fd10::1",
	}, e.static(object{"dns": nil}))
	if err != nil {
		return err
	}
	for _, text := range []string{"10.9.0.7/24", "fd09::7/64", "10.10.0.7/24", "fd10::7/64", `"10.10.0.1"`, `"fd10::1"`} {
		if !strings.Contains(string(out), text) {
			return fmt.Errorf("%s is not in the result %s", text, out)
		}
	}
	return nil
}

func staticReplaced(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	conf := with(e.static(nil), object{"args": object{"cni": object{"ips": []string{"10.9.0.8/24"}}}})
	r, _, err := e.add("static", c, conf)
	if err := wantAddresses(r, err, "10.9.0.8/24"); err != nil {
		return fmt.Errorf("args: %w", err)
	}
	r, _, err = e.add("static", c, with(conf, object{"runtimeConfig": object{"ips": []string{"10.9.0.9/24", "fd09::9/64"}}}))
	if err := wantAddresses(r, err, "10.9.0.9/24 fd09::9/64"); err != nil {
		return fmt.Errorf("capability: %w", err)
	}
	return nil
}

// staticBridge lets the bridge plugin execute this one.
func staticBridge(e *env) error {
	ipam, _ := e.static(nil)["ipam"].(object)
	conf := with(e.bridge(), object{"ipam": with(ipam, object{"routes": []any{object{"dst": "10.0.0.0/8", "gw": "10.9.0.3", "mtu": 1300}}})})
	c, result, raw, err := e.attached("c1", conf)
	if err := wantAddresses(result, err, "10.9.0.7/24 fd09::7/64"); err != nil {
		return err
	}
	if dns, _ := raw["dns"].(object); dns["domain"] != "example" {
		return fmt.Errorf("dns %v", raw["dns"])
	}
	if err := e.serve(c.ns, 80); err != nil {
		return err
	}
	err = errors.Join(reach(e.host, "10.9.0.7:80", ""), e.check("bridge", c, conf, raw), e.status("bridge", conf))
	if err != nil {
		return err
	}
	return errors.Join(e.del("bridge", c, conf), e.del("bridge", c, conf))
}

func staticRest(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	if err := e.del("static", c, e.static(nil)); err != nil {
		return err
	}
	return errors.Join(e.gc("static", e.static(nil)), e.status("static", e.static(nil)))
}

func staticCheck(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	_, raw, err := e.add("static", c, e.static(nil))
	if err != nil {
		return err
	}
	if err := e.check("static", c, e.static(nil), raw); err != nil {
		return err
	}
	var errs []error
	for name, addresses := range map[string][]any{
		"an address that is missing": {object{"address": "10.9.0.77/24"}},
		"another gateway":            {object{"address": "10.9.0.7/24", "gateway": "10.9.0.2"}},
	} {
		if e.check("static", c, e.static(object{"addresses": addresses}), raw) == nil {
			errs = append(errs, fmt.Errorf("CHECK says nothing about %s", name))
		}
	}
	return errors.Join(errs...)
}

func staticBad(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	var errs []error
	for name, address := range map[string]object{
		"no prefix length": {"address": "10.9.0.7"}, "no address": {"address": "x/24"}, "multicast": {"address": "224.0.0.1/4"},
		"gateway of the other family": {"address": "10.9.0.7/24", "gateway": "fd09::1"},
	} {
		_, _, err := e.add("static", c, e.static(object{"addresses": []any{address}}))
		if wrong := wantCode(err, 7); wrong != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, wrong))
		}
	}
	return errors.Join(errs...)
}
