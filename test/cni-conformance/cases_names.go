package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// nameCases ask what a bridge says of names.
func nameCases() []testCase {
	return []testCase{
		{"bridge/dns key: instead of what the ipam plugin says", dnsKey},
		{"bridge/dns capability: instead of the key", dnsCapability},
		{"bridge/aliases stand in a file for the DNS server of the host, until DEL or GC", aliases},
	}
}

// named attaches a container with dns from all sides that are given, and compares the servers in the result.
func (e *env) named(name string, changes object, want string) error {
	conf := with(e.bridge(), object{"ipam": e.static(object{"routes": nil, "dns": object{"nameservers": []any{"192.0.2.51"}}})["ipam"]})
	_, result, raw, err := e.attached(name, with(conf, changes))
	if err != nil {
		return err
	}
	if got := fmt.Sprint(result.DNS.Nameservers, result.DNS.Search); got != want {
		return fmt.Errorf("dns %s, want %s; result %v", got, want, raw)
	}
	return nil
}

func dnsKey(e *env) error {
	key := object{"nameservers": []any{"192.0.2.52"}, "search": []any{"b.example"}}
	return errors.Join(
		e.named("c1", object{"dns": object{}}, "[192.0.2.51] []"),
		e.named("c2", object{"dns": key}, "[192.0.2.52] [b.example]"))
}

func dnsCapability(e *env) error {
	return e.named("c1", object{
		"dns":           object{"nameservers": []any{"192.0.2.52"}},
		"runtimeConfig": object{"dns": object{"servers": []any{"192.0.2.53"}, "searches": []any{"c.example"}}},
	}, "[192.0.2.53] [c.example]")
}

// addressesOf looks a name up in the network's file of hosts(5), as a DNS server would.
func (e *env) addressesOf(name string) ([]string, error) {
	data, err := os.ReadFile(e.dir + "/hosts/net")
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		text, _, _ := strings.Cut(line, "#")
		if f := strings.Fields(text); len(f) > 1 && slices.Contains(f[1:], name) {
			found = append(found, f[0])
		}
	}
	return found, nil
}

func (e *env) resolves(name string, want ...string) error {
	got, err := e.addressesOf(name)
	if err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("%s has the addresses %v, want %v", name, got, want)
	}
	return err
}

func aliases(e *env) error {
	plain := with(e.dual(), object{"hostsDir": e.dir + "/hosts"})
	conf := with(plain, object{"runtimeConfig": object{"aliases": []string{"db", "DB.example"}}})
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	if _, err := e.run(call{plugin: "bridge", verb: "ADD", c: c, args: "IgnoreUnknown=1;K8S_POD_NAME=web;K8S_POD_NAMESPACE=shop"}, conf); err != nil {
		return err
	}
	byNetwork := with(plain, object{"runtimeConfig": object{"aliases": object{"net": []string{"db"}, "other": []string{"x"}}}})
	c2, _, raw, err := e.attached("c2", byNetwork)
	if err != nil {
		return err
	}
	if _, _, _, err := e.attached("c3", plain); err != nil {
		return err
	}
	_, _, _, badErr := e.attached("c4", with(plain, object{"runtimeConfig": object{"aliases": []string{"no name"}}}))
	err = errors.Join(wantCode(badErr, 7), e.resolves("db", "10.9.0.2", "fd09::2", "10.9.0.3", "fd09::3"), e.resolves("db.example", "10.9.0.2", "fd09::2"),
		e.resolves("web.shop", "10.9.0.2", "fd09::2"), e.resolves("web", "10.9.0.2", "fd09::2"), e.resolves("x"), e.check("bridge", c2, byNetwork, raw))
	if err != nil {
		return err
	}
	if err := errors.Join(e.del("bridge", c, conf), e.resolves("web"), e.resolves("db", "10.9.0.3", "fd09::3")); err != nil {
		return err
	}
	if err := os.Remove(e.dir + "/hosts/net"); err != nil {
		return err
	}
	if e.check("bridge", c2, byNetwork, raw) == nil {
		return errors.New("CHECK does not miss the names")
	}
	if _, _, _, err := e.attached("c5", conf); err != nil {
		return err
	}
	return errors.Join(e.gc("bridge", plain), e.resolves("db"))
}
