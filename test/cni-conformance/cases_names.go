package main

import (
	"errors"
	"fmt"
)

// nameCases ask what a bridge says of names.
func nameCases() []testCase {
	return []testCase{
		{"bridge/dns key: instead of what the ipam plugin says", dnsKey},
		{"bridge/dns capability: instead of the key", dnsCapability},
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
