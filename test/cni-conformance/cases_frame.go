package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// knownPlugins are the plugins that the suite knows.
func knownPlugins() []string {
	return []string{"bridge", "host-local", "static", "loopback", "portmap", "tuning", "bandwidth", "firewall"}
}

// frameCases ask what every plugin has to do whatever its business is.
func frameCases() []testCase {
	var cases []testCase
	for _, p := range knownPlugins() {
		cases = append(cases,
			testCase{p + "/VERSION echoes cniVersion", func(e *env) error { return version(e, p) }},
			testCase{p + "/unknown version is code 1", func(e *env) error {
				return e.frame(p, wantCodes(1), call{verb: "ADD"}, object{"cniVersion": "9.9.9"})
			}},
			testCase{p + "/broken JSON is code 6", func(e *env) error {
				return e.frame(p, wantCodes(6), call{verb: "ADD", stdin: []byte(`{"cniVersion": "1.1.0", `)}, nil)
			}},
			testCase{p + "/error object has cniVersion", func(e *env) error {
				return e.frame(p, wantVersion, call{verb: "ADD", unset: "CNI_CONTAINERID"}, nil)
			}},
			testCase{p + "/bad interface name is code 4", func(e *env) error {
				return e.frame(p, wantCodes(4), call{verb: "ADD", ifName: "eth0/../x"}, nil)
			}},
			testCase{p + "/bad network name is code 7", func(e *env) error {
				return e.frame(p, wantCodes(7), call{verb: "ADD"}, object{"name": "../n"})
			}},
			testCase{p + "/CHECK needs prevResult", func(e *env) error {
				return e.frame(p, wantCodes(7), call{verb: "CHECK"}, nil)
			}},
			testCase{p + "/STATUS and GC need version 1.1", func(e *env) error {
				old := with(e.confOf(p), object{"cniVersion": "1.0.0"})
				return errors.Join(wantCode(e.status(p, old), 1), wantCode(e.gc(p, old), 1))
			}},
			testCase{p + "/GC without the list is refused, null is an empty list", func(e *env) error {
				_, err := e.run(call{plugin: p, verb: "GC"}, e.confOf(p))
				if wrong := wantCode(err, 7); wrong != nil {
					return wrong
				}
				conf := e.confOf(p)
				conf["cni.dev/valid-attachments"] = nil
				_, err = e.run(call{plugin: p, verb: "GC"}, conf)
				return err
			}},
		)
		for _, v := range []string{"CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_PATH"} {
			cases = append(cases, testCase{p + "/missing " + v + " is code 4", func(e *env) error {
				return e.frame(p, func(err error) error { return wantNamed(err, v) }, call{verb: "ADD", unset: v}, nil)
			}})
		}
		if bad := refusedBy(p); bad != nil {
			cases = append(cases, testCase{p + "/DEL works with what ADD refuses", func(e *env) error { return delRefused(e, p, bad) }})
		}
		if p == "host-local" || p == "static" || p == "portmap" {
			continue // they do not look into the namespace
		}
		cases = append(cases,
			testCase{p + "/the host's namespace is refused before any effect", func(e *env) error { return hostNamespace(e, p) }},
			testCase{p + "/ADD to a namespace that is gone is code 3", func(e *env) error {
				return e.frame(p, wantCodes(3), call{verb: "ADD", netns: "/no/such/namespace"}, nil)
			}},
		)
	}
	return cases
}

// frame runs one call with a configuration that is right but for the changes.
func (e *env) frame(plugin string, judge func(error) error, k call, changes object) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	k.plugin, k.c = plugin, c
	_, err = e.run(k, with(e.confOf(plugin), changes))
	return judge(err)
}

func (e *env) confOf(plugin string) object {
	switch plugin {
	case "bridge":
		return e.bridge()
	case "host-local":
		return e.hostLocal()
	case "static":
		return e.static(nil)
	}
	for _, p := range allChained() {
		if p.name == plugin {
			return p.conf(e)
		}
	}
	return object{"cniVersion": "1.1.0", "name": "net", "type": plugin}
}

func wantCodes(codes ...uint) func(error) error {
	return func(err error) error { return wantCode(err, codes...) }
}

// wantNamed asks for code 4 and the name of the variable.
func wantNamed(err error, variable string) error {
	if wrong := wantCode(err, 4); wrong != nil {
		return wrong
	}
	if !strings.Contains(err.Error(), variable) {
		return fmt.Errorf("the message does not name %s: %w", variable, err)
	}
	return nil
}

func wantVersion(err error) error {
	var said *pluginError
	if !errors.As(err, &said) {
		return fmt.Errorf("want an error object, got %v", err)
	}
	if said.CNIVersion == "" {
		return fmt.Errorf("the error object lacks cniVersion: %w", err)
	}
	return nil
}

// refusedBy are keys with values that a plugin's ADD can't take.
func refusedBy(plugin string) object {
	noSubnet := object{"type": "host-local", "ranges": []any{[]any{object{"subnet": "10.9.0.0/33"}}}}
	return map[string]object{
		"bridge": {"ipam": noSubnet, "dataDir": "here"}, "host-local": {"ipam": noSubnet},
		"static":    {"ipam": object{"type": "static", "addresses": []any{object{"address": "here"}}}},
		"portmap":   {"snat": "maybe", "dataDir": "here"},
		"tuning":    {"sysctl": object{"net.core.somaxconn": 500}, "dataDir": "here"},
		"bandwidth": {"ingressRate": "fast"},
		"firewall":  {"ingressPolicy": "friends"},
	}[plugin]
}

// delRefused does what a runtime does after a failed ADD. A DEL that fails would be tried again for ever, as a configuration that a container was
// to be attached with does not change any more.
func delRefused(e *env, plugin string, bad object) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	conf := with(e.confOf(plugin), bad)
	if _, err := e.run(call{plugin: plugin, verb: "ADD", c: c}, conf); err == nil {
		return fmt.Errorf("ADD took %v", bad)
	}
	return e.del(plugin, c, conf)
}

func version(e *env, plugin string) error {
	for _, v := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		out, err := e.run(call{plugin: plugin, verb: "VERSION"}, object{"cniVersion": v})
		if err != nil {
			return err
		}
		var answer struct {
			CNIVersion        string   `json:"cniVersion"`
			SupportedVersions []string `json:"supportedVersions"`
		}
		if err := json.Unmarshal(out, &answer); err != nil {
			return err
		}
		if answer.CNIVersion != v || !slices.Contains(answer.SupportedVersions, v) {
			return fmt.Errorf("asked with %s, it answered %s", v, out)
		}
	}
	return nil
}

func hostNamespace(e *env, plugin string) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	_, err = e.run(call{plugin: plugin, verb: "ADD", c: c, netns: e.dir + "/ns-host/net"}, e.confOf(plugin))
	if wrong := wantCode(err, 8); wrong != nil {
		return wrong
	}
	if names, err := links(e.host); err != nil || len(names) > 0 {
		return saw(err, "the host has got the links %v", names)
	}
	return nil
}
