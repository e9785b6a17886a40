package main

import (
	"errors"
	"fmt"
)

// publishedWith is published with keys for portmap.
func (e *env) publishedWith(name string, conf, runtime, keys object) error {
	c, _, raw, err := e.attached(name, conf)
	if err != nil {
		return err
	}
	if err := e.serve(c.ns, 80); err != nil {
		return err
	}
	_, _, err = e.add("portmap", c, with(portmapConf(runtime, raw), keys))
	if err != nil {
		return err
	}
	return e.check("portmap", c, with(portmapConf(runtime, nil), keys), raw)
}

// portRange publishes 2000 ports by two protocols, whose first and last lead to what is as far from the first inside.
func portRange(e *env) error {
	c, _, raw, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	if err := errors.Join(e.serve(c.ns, 1000), e.serve(c.ns, 2999), e.serve(c.ns, 3000)); err != nil {
		return err
	}
	runtime := both(20000, 1000, "")
	for _, m := range runtime["portMappings"].([]any) {
		m.(object)["range"] = 2000
	}
	if _, _, err := e.add("portmap", c, portmapConf(runtime, raw)); err != nil {
		return err
	}
	err = errors.Join(reach(e.host, "127.0.0.1:20000", ""), reach(e.host, "127.0.0.1:21999", ""), refused(e.host, "tcp", "127.0.0.1:22000"), e.check("portmap", c, portmapConf(runtime, nil), raw))
	if err != nil {
		return err
	}
	other, _, otherRaw, err := e.attached("c2", e.bridge())
	if err != nil {
		return err
	}
	if _, _, err := e.add("portmap", other, portmapConf(both(21500, 1000, ""), otherRaw)); err == nil {
		return errors.New("a port in the middle was given to another container too")
	}
	return errors.Join(e.del("portmap", c, portmapConf(runtime, nil)), refused(e.host, "tcp", "127.0.0.1:20000"), refused(e.host, "udp", "127.0.0.1:21999"))
}

// autoPorts leaves the host's port open. Where it went is found by asking; people read it on stderr.
func autoPorts(e *env) error {
	keys := object{"autoHostPorts": "40000-40002", "dataDir": e.dir + "/state"}
	answering := func() (ports []int) {
		for p := 40000; p <= 40002; p++ {
			if refused(e.host, "tcp", hostPort("127.0.0.1", p)) != nil {
				ports = append(ports, p)
			}
		}
		return ports
	}
	if err := e.serve(e.host, 40001); err != nil {
		return err
	}
	if err := e.publishedWith("c1", e.dual(), both(0, 80, ""), keys); err != nil {
		return err
	}
	bridge := with(with(e.bridge(), keys), object{"runtimeConfig": both(0, 80, "")})
	c, _, raw, err := e.attached("c2", bridge)
	if err != nil {
		return err
	}
	if err := errors.Join(e.serve(c.ns, 80), e.check("bridge", c, bridge, raw)); err != nil {
		return err
	}
	if got := answering(); len(got) != 3 {
		return fmt.Errorf("of 40000 to 40002 only %v answer", got)
	}
	if wrong := wantCode(e.publishedWith("c3", e.dual(), both(0, 80, ""), keys), 11); wrong != nil {
		return fmt.Errorf("no port is left: %w", wrong)
	}
	if err := e.del("bridge", c, bridge); err != nil {
		return err
	}
	if got := answering(); len(got) != 2 {
		return fmt.Errorf("after a DEL %v answer", got)
	}
	return nil
}

func masqAll(e *env) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	if err := e.publishedWith("c1", e.dual(), both(8080, 80, ""), object{"masqAll": true}); err != nil {
		return err
	}
	if err := e.publishedWith("c2", e.dual(), both(8081, 80, ""), nil); err != nil {
		return err
	}
	seen, err := ask(outside, "tcp", "[2001:db8::1]:8080")
	if err == nil && seen.String() == "2001:db8::2" { // any address of the node is fine
		err = errors.New("the server saw the client's IPv6 address")
	}
	return errors.Join(err, reach(outside, "192.0.2.1:8080", "10.9.0.1"),
		reach(e.host, "127.0.0.1:8080", "10.9.0.1"), reach(outside, "192.0.2.1:8081", "192.0.2.2"))
}

func conditions(e *env) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	if err := errors.Join(address(e.host, "uplink", "192.0.2.9/24"), address(outside, "eth0", "192.0.2.3/24")); err != nil {
		return err
	}
	for i, list := range [][]string{
		{"!", "-d", "192.0.2.9/32"}, {"-s", "192.0.2.2/32"}, {"-i", "uplink"}, {"!", "-i", "uplink"}, {"-s", "192.0.2.3"},
	} {
		keys := object{"conditionsV4": list, "conditionsV6": []string{"!", "-d", "2001:db8::9"}}
		if err := e.publishedWith(fmt.Sprint("c", i), e.dual(), both(8080+i, 80, ""), keys); err != nil {
			return fmt.Errorf("%v: %w", list, err)
		}
	}
	return errors.Join(
		reach(outside, "192.0.2.1:8080", "192.0.2.2"), refused(outside, "tcp", "192.0.2.9:8080"), reach(e.host, "192.0.2.1:8080", ""), refused(e.host, "udp", "192.0.2.9:8080"),
		reach(outside, "[2001:db8::1]:8080", "2001:db8::2"),
		reach(outside, "192.0.2.9:8081", "192.0.2.2"), refused(e.host, "tcp", "192.0.2.1:8081"),
		reach(outside, "192.0.2.1:8082", "192.0.2.2"), refused(e.host, "tcp", "192.0.2.1:8082"),
		refused(outside, "tcp", "192.0.2.1:8083"), reach(e.host, "192.0.2.1:8083", ""),
		refused(outside, "tcp", "192.0.2.1:8084"), refused(e.host, "tcp", "192.0.2.1:8084"),
	)
}

func badConditions(e *env) error {
	c, _, raw, err := e.attached("c1", e.dual())
	if err != nil {
		return err
	}
	var errs []error
	for name, keys := range map[string]object{
		"not understood": {"conditionsV4": []string{"--no-such-test", "1"}}, "no address": {"conditionsV4": []string{"-d", "300.1.1.1"}},
		"other family": {"conditionsV6": []string{"-d", "192.0.2.1"}},
		"two marks":    {"markMasqBit": 5, "externalSetMarkChain": "X"}, "no bit": {"markMasqBit": 32},
	} {
		if _, _, err := e.add("portmap", c, with(portmapConf(both(8080, 80, ""), raw), keys)); err == nil {
			errs = append(errs, fmt.Errorf("%s: accepted", name))
		}
	}
	return errors.Join(errs...)
}

func secondInterface(e *env) error {
	c, _, raw, err := e.published("c1", e.bridge(), both(8080, 80, ""))
	if err != nil {
		return err
	}
	second := with(e.bridge(), object{"name": "net2", "bridge": "br1", "isDefaultGateway": nil, "isGateway": true, "ipam": with(e.ipam(), object{
		"ranges": []any{[]any{object{"subnet": "10.10.0.0/24"}}},
	})})
	if _, err := e.run(call{plugin: "bridge", verb: "ADD", c: c, ifName: "eth1"}, second); err != nil {
		return err
	}
	if _, err := e.run(call{plugin: "portmap", verb: "ADD", c: c, ifName: "eth1"}, with(portmapConf(both(8081, 80, ""), object{
		"cniVersion": "1.1.0", "interfaces": []any{object{"name": "eth1", "sandbox": c.path}},
		"ips": []any{object{"address": "10.10.0.2/24", "interface": 0}},
	}), object{"name": "net2"})); err != nil {
		return err
	}
	if _, err := e.run(call{plugin: "portmap", verb: "DEL", c: c, ifName: "eth1"}, with(portmapConf(both(8081, 80, ""), nil), object{"name": "net2"})); err != nil {
		return err
	}
	return errors.Join(e.check("portmap", c, portmapConf(both(8080, 80, ""), nil), raw), reach(e.host, "127.0.0.1:8080", ""))
}

func badMappings(e *env) error {
	c, _, raw, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	var errs []error
	for name, m := range map[string]mapping{
		"host port 0": {0, 80, "tcp", ""}, "host port 65536": {65536, 80, "tcp", ""}, "container port 0": {80, 0, "tcp", ""},
		"protocol": {80, 80, "icmp", ""}, "host IP": {80, 80, "tcp", "300.1.1.1"},
	} {
		_, _, err := e.add("portmap", c, portmapConf(mappings(m), raw))
		if wrong := wantCode(err, 7); wrong != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, wrong))
		}
	}
	return errors.Join(errs...)
}
