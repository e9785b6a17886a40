package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// poolCases ask which address host-local gives, beyond what ranges say.
func poolCases() []testCase {
	return []testCase{
		{"host-local/all fields of routes", routeFields},
		{"host-local/ranges by capability", rangesByCapability},
		{"host-local/excluded addresses are never given", excluded},
		{"host-local/a pod gets its address back", sticky},
		{"host-local/cooldown keeps a freed address from others", cooldown},
		{"host-local/takes over the files of the CNI project's plugin", takesOver},
	}
}

// withIPAM is the usual configuration with some keys of its ipam section changed.
func (e *env) withIPAM(changes object) object {
	return with(e.hostLocal(), object{"ipam": with(e.ipam(), changes)})
}

func routeFields(e *env) error {
	r, err := e.take("c1", e.withIPAM(object{"routes": []any{
		object{"dst": "10.0.0.0/8", "gw": "10.9.0.3", "mtu": 1300, "advmss": 1260, "priority": 7, "table": 100, "scope": 0},
		object{"dst": "0.0.0.0/0"},
	}}))
	if err != nil {
		return err
	}
	if len(r.Routes) != 2 || r.Routes[1].GW != nil || r.Routes[1].Table != nil || r.Routes[1].Scope != nil {
		return fmt.Errorf("routes %v", r.Routes)
	}
	got := r.Routes[0]
	if got.Dst.String() != "10.0.0.0/8" || got.GW.String() != "10.9.0.3" || got.MTU != 1300 || got.AdvMSS != 1260 || got.Priority != 7 ||
		got.Table == nil || *got.Table != 100 || got.Scope == nil || *got.Scope != 0 {
		return fmt.Errorf("route %v", got)
	}
	return nil
}

func rangesByCapability(e *env) error {
	conf := with(e.withIPAM(object{"ranges": nil}), object{"runtimeConfig": object{"ipRanges": []any{
		set(object{"subnet": "10.9.5.0/24", "rangeStart": "10.9.5.7"}), set(object{"subnet": "fd09:5::/64"}),
	}}})
	r, err := e.take("c1", conf)
	if err := wantAddresses(r, err, "10.9.5.7/24 fd09:5::2/64"); err != nil {
		return err
	}
	idle := with(conf, object{"runtimeConfig": nil, "capabilities": object{"ipRanges": true}}) // nobody tells the ranges to these
	return errors.Join(e.status("host-local", idle), e.del("host-local", &container{id: "c1", path: "/gone"}, idle), e.gc("host-local", idle))
}

func excluded(e *env) error {
	conf := e.withIPAM(object{"ranges": []any{set(object{"subnet": "10.9.0.0/28"})}, "exclude": []any{"10.9.0.3", "10.9.0.4/30", "10.9.0.10/31"}})
	for i, want := range []string{"10.9.0.2/28", "10.9.0.8/28", "10.9.0.9/28", "10.9.0.12/28", "10.9.0.13/28", "10.9.0.14/28"} {
		r, err := e.take(fmt.Sprint("c", i), conf)
		if err := wantAddresses(r, err, want); err != nil {
			return err
		}
	}
	_, err := e.take("c9", conf)
	if wrong := wantCode(err, 11); wrong != nil {
		return fmt.Errorf("only excluded ones are left: %w", wrong)
	}
	_, err = e.take("c10", with(conf, object{"runtimeConfig": object{"ips": []any{"10.9.0.5"}}}))
	if wrong := wantCode(err, 7); wrong != nil {
		return fmt.Errorf("an excluded one is asked for: %w", wrong)
	}
	return nil
}

// takePod asks for the address of a container of a pod.
func (e *env) takePod(id, pod string, conf object) (*current.Result, *container, error) {
	c, err := e.container(id)
	if err != nil {
		return nil, nil, err
	}
	k := call{plugin: "host-local", verb: "ADD", c: c, args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=" + pod}
	out, err := e.run(k, conf)
	if err != nil {
		return nil, c, err
	}
	r, err := current.NewResult(out)
	if err != nil {
		return nil, c, err
	}
	newest, err := current.NewResultFromResult(r)
	return newest, c, err
}

func sticky(e *env) error {
	r, web, err := e.takePod("c1", "web", e.hostLocal())
	if err := wantAddresses(r, err, "10.9.0.2/24"); err != nil {
		return err
	}
	if err := e.del("host-local", web, e.hostLocal()); err != nil {
		return err
	}
	r, _, err = e.takePod("c2", "other", e.hostLocal())
	if err := wantAddresses(r, err, "10.9.0.3/24"); err != nil {
		return err
	}
	r, _, err = e.takePod("c3", "web", e.hostLocal())
	if err := wantAddresses(r, err, "10.9.0.2/24"); err != nil {
		return fmt.Errorf("the pod anew: %w", err)
	}
	r, _, err = e.takePod("c4", "next", e.hostLocal())
	return wantAddresses(r, err, "10.9.0.4/24")
}

func cooldown(e *env) error {
	conf := e.withIPAM(object{"ranges": []any{set(object{"subnet": "10.9.0.0/30"})}, "cooldown": 3600})
	_, web, err := e.takePod("c1", "web", conf)
	if err != nil {
		return err
	}
	if err := e.del("host-local", web, conf); err != nil {
		return err
	}
	_, _, err = e.takePod("c2", "other", conf)
	if wrong := wantCode(err, 11); wrong != nil {
		return wrong
	}
	if wrong := wantCode(e.status("host-local", conf), 50); wrong != nil {
		return fmt.Errorf("STATUS: %w", wrong)
	}
	r, _, err := e.takePod("c3", "web", conf)
	if err := wantAddresses(r, err, "10.9.0.2/30"); err != nil {
		return fmt.Errorf("the pod that had it: %w", err)
	}
	return nil
}

func takesOver(e *env) error {
	dir := filepath.Join(e.dir, "ipam", "net")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"10.9.0.2": "c1\r\neth0", "10.9.0.3": "c2\r\neth0", "last_reserved_ip.0": "10.9.0.2", "lock": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	if err := e.del("host-local", &container{id: "c1", path: "/gone"}, e.hostLocal()); err != nil {
		return err
	}
	if _, err := e.reserved("10.9.0.2"); err == nil {
		return fmt.Errorf("DEL freed nothing")
	}
	if _, err := e.reserved("10.9.0.3"); err != nil {
		return err
	}
	r, err := e.take("c3", e.hostLocal())
	return wantAddresses(r, err, "10.9.0.4/24")
}
