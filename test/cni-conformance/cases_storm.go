package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/google/nftables"
)

// stormCases run many plugins at once on one network and kill some of them.
func stormCases() []testCase {
	return []testCase{{"crash/200 ADDs and DELs at once, killed at random: no address twice, none leaked, no rule left", storm}}
}

const (
	stormSize = 100 // containers in each of two waves; the second DELs those of the first at the same time
	killEach  = 3   // one of so many is killed
)

// attempt is one container in a storm.
type attempt struct {
	c      *container
	conf   object
	killed bool
	raw    object // the result of its ADD, nil if that was killed before it was printed
	ip     string
}

func storm(e *env) error {
	warm, _, _, err := e.attached("warm", e.bridge()) // what the network itself needs on the host is there from now on
	if err != nil {
		return err
	}
	if err := e.del("bridge", warm, e.bridge()); err != nil {
		return err
	}
	idle, err := e.firewallSize()
	if err != nil {
		return err
	}
	first, err := e.attempts("a", 0)
	if err != nil {
		return err
	}
	second, err := e.attempts("b", stormSize)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := together(first, func(a *attempt) error { return e.stormAdd(a, 0) }); err != nil {
		return err
	}
	span := time.Since(began)
	err = together(append(first, second...), func(a *attempt) error {
		if a.raw != nil {
			return e.stormDel(a, span)
		}
		return e.stormAdd(a, span)
	})
	if err != nil {
		return err
	}
	living, err := e.settleStorm(first, second)
	if err != nil {
		return err
	}
	if err := together(living, func(a *attempt) error { return e.del("bridge", a.c, a.conf) }); err != nil {
		return err
	}
	if err := e.onlyReserved(nil); err != nil {
		return fmt.Errorf("after DEL of all: %w", err)
	}
	left, err := e.firewallSize()
	if err != nil || left != idle {
		return saw(err, "the firewall has %d rules and elements, %d before", left, idle)
	}
	for _, a := range append(first, second...) {
		if err := a.c.remove(); err != nil { // a link may be there until its namespace goes
			return err
		}
	}
	return e.onlyLinks("br0")
}

// settleStorm proves that those who got an address have it and nobody else any, and cleans up after the killed, as runtimes do: half by
// DEL, the rest by GC.
func (e *env) settleStorm(first, second []*attempt) ([]*attempt, error) {
	var living []*attempt
	var keep []*container
	owner := map[string]string{}
	for i, a := range second {
		if a.raw == nil {
			if i%2 == 0 {
				if err := e.del("bridge", a.c, a.conf); err != nil {
					return nil, err
				}
			}
			continue
		}
		if other := owner[a.ip]; other != "" {
			return nil, fmt.Errorf("%s and %s have got %s", other, a.c.id, a.ip)
		}
		owner[a.ip] = a.c.id
		living, keep = append(living, a), append(keep, a.c)
	}
	for i, a := range first {
		if a.killed && i%2 == 0 {
			if err := e.del("bridge", a.c, a.conf); err != nil {
				return nil, err
			}
		}
	}
	if len(living) == 0 || len(living) == len(second) {
		return nil, fmt.Errorf("%d of %d ADDs were killed: the storm says nothing", len(second)-len(living), len(second))
	}
	if err := e.gc("bridge", e.bridge(), keep...); err != nil {
		return nil, err
	}
	for _, a := range living {
		if err := e.check("bridge", a.c, a.conf, a.raw); err != nil {
			return nil, fmt.Errorf("CHECK of %s, which was not killed: %w", a.c.id, err)
		}
	}
	return living, e.onlyReserved(owner)
}

// attempts makes containers, each with a port of its own to publish.
func (e *env) attempts(prefix string, offset int) ([]*attempt, error) {
	var list []*attempt
	for i := range stormSize {
		c, err := e.container(fmt.Sprint(prefix, i))
		if err != nil {
			return nil, err
		}
		conf := with(e.bridge(), object{"runtimeConfig": object{"portMappings": []any{object{"hostPort": 9000 + offset + i, "containerPort": 80}}}})
		list = append(list, &attempt{c: c, conf: conf})
	}
	return list, nil
}

// together runs all at once.
func together(list []*attempt, do func(*attempt) error) error {
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for i, a := range list {
		all.Go(func() { errs[i] = do(a) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (e *env) stormAdd(a *attempt, span time.Duration) error {
	out, killed, err := e.mayKill(call{plugin: "bridge", verb: "ADD", c: a.c}, a.conf, span)
	if a.killed = killed; killed || err != nil {
		return err
	}
	var result struct {
		IPs []struct{ Address string } `json:"ips"`
	}
	if err := errors.Join(json.Unmarshal(out, &a.raw), json.Unmarshal(out, &result)); err != nil || len(result.IPs) != 1 {
		return saw(err, "ADD of %s printed %q", a.c.id, out)
	}
	ip, _, err := net.ParseCIDR(result.IPs[0].Address)
	a.ip = ip.String()
	return err
}

func (e *env) stormDel(a *attempt, span time.Duration) error {
	_, killed, err := e.mayKill(call{plugin: "bridge", verb: "DEL", c: a.c}, a.conf, span)
	a.killed = killed
	return err
}

// mayKill runs a plugin, and kills one of some with all its children at any time within a span; 0 kills none.
func (e *env) mayKill(k call, conf object, span time.Duration) (_ []byte, killed bool, err error) {
	cmd, err := e.command(context.Background(), k, conf)
	if err != nil {
		return nil, false, err
	}
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.host.Do(cmd.Start); err != nil {
		return nil, false, err
	}
	if span > 0 && rand.IntN(killEach) == 0 {
		timer := time.AfterFunc(rand.N(span), func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // it may have ended
		defer timer.Stop()
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && !exit.Exited() {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s of %s: %w; it printed %q", k.verb, k.c.id, err, stdout.Bytes())
	}
	return stdout.Bytes(), false, nil
}

// onlyReserved says what is wrong if other addresses of the network are taken than those with an owner.
func (e *env) onlyReserved(owner map[string]string) error {
	for i := 2; i < 255; i++ {
		ip := fmt.Sprintf("10.9.0.%d", i)
		path, err := e.reserved(ip)
		if has := err == nil; has != (owner[ip] != "") {
			return fmt.Errorf("address %s: reserved %v in %q, its owner is %q", ip, has, path, owner[ip])
		}
	}
	return nil
}

// firewallSize counts the rules of the host and the elements of its sets and maps.
func (e *env) firewallSize() (n int, err error) {
	err = e.host.Do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := conn.ListChains()
		if err != nil {
			return err
		}
		for _, c := range chains {
			rules, err := conn.GetRules(c.Table, c)
			if err != nil {
				return err
			}
			n += len(rules)
		}
		tables, err := conn.ListTables()
		if err != nil {
			return err
		}
		for _, t := range tables {
			sets, err := conn.GetSets(t)
			if err != nil {
				return err
			}
			for _, s := range sets {
				elements, err := conn.GetSetElements(s)
				if err != nil {
					return err
				}
				n += len(elements)
			}
		}
		return nil
	})
	return n, err
}
