package main

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// TestBesideIptables has the rules of another engine, as Docker makes them, in the tables of iptables: berth's plugins work beside
// them and change none, and what flushes them flushes nothing of berth's.
func TestBesideIptables(t *testing.T) {
	for _, program := range []string{"iptables-legacy", "iptables-nft"} {
		t.Run(program, func(t *testing.T) {
			testutil.RequireTool(t, program)
			inWorld(t, "1.1.0", func(e *env, _ string) error {
				tables := iptables{e.host, program}
				if err := tables.set("-t nat -L"); err != nil {
					testutil.Skip(t, "no tables of %s here: %v", program, err)
				}
				return beside(e, tables)
			})
		})
	}
}

// iptables is a program for the tables of a namespace.
type iptables struct {
	ns      *netns.Handle
	program string
}

func (i iptables) run(program string, args ...string) (string, error) {
	var out []byte
	err := i.ns.Do(func() (err error) { out, err = exec.Command(program, args...).CombinedOutput(); return err })
	if err != nil {
		return "", fmt.Errorf("%s %v: %w: %s", program, args, err, out)
	}
	return string(out), nil
}

// set runs the program for each line of arguments.
func (i iptables) set(lines ...string) error {
	for _, line := range lines {
		if _, err := i.run(i.program, strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

var notes = regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]`) // comments and counters

// rules are those of all tables.
func (i iptables) rules() (string, error) {
	out, err := i.run(i.program + "-save")
	return notes.ReplaceAllString(out, ""), err
}

// theirs is a container of the other engine, 172.20.0.2, which serves on port 80.
func (e *env) theirs() (*netns.Handle, error) {
	ns, err := e.namespace("theirs")
	if err != nil {
		return nil, err
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "theirs", Flags: net.FlagUp}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns.File().Fd())),
	}
	if err := e.host.Netlink().LinkAdd(pair); err != nil {
		return nil, err
	}
	if err := errors.Join(address(e.host, "theirs", "172.20.0.1/24"), address(ns, "eth0", "172.20.0.2/24")); err != nil {
		return nil, err
	}
	l, err := ns.Netlink().LinkByName("eth0")
	if err != nil {
		return nil, err
	}
	return ns, errors.Join(routeOut(ns, l.Attrs().Index, "0.0.0.0/0", "172.20.0.1"), setSysctl(e.host, "net/ipv4/ip_forward", "1"), e.serve(ns, 80))
}

func beside(e *env, tables iptables) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	theirs, err := e.theirs()
	if err != nil {
		return err
	}
	err = errors.Join(e.serve(outside, 99), tables.set(
		"-P FORWARD DROP", "-N DOCKER-USER", "-A FORWARD -j DOCKER-USER", "-A FORWARD -d 172.20.0.0/24 -j ACCEPT", "-A FORWARD -s 172.20.0.0/24 -j ACCEPT",
		"-t nat -A PREROUTING -p tcp --dport 9090 -j DNAT --to-destination 172.20.0.2:80",
		"-t nat -A POSTROUTING -s 172.20.0.0/24 ! -o theirs -j MASQUERADE"))
	if err != nil {
		return err
	}
	others := func() error {
		_, err := ask(outside, "tcp", "192.0.2.1:9090")
		return errors.Join(err, seenAs(theirs, "192.0.2.2:99", "192.0.2.1"))
	}
	ours := func(c *container) error {
		return errors.Join(reach(outside, "192.0.2.1:8080", "192.0.2.2"), reach(e.host, "127.0.0.1:8080", ""), seenAs(c.ns, "192.0.2.2:99", "192.0.2.1"))
	}
	before, err := tables.rules()
	if err != nil {
		return err
	}
	unchanged := func() error {
		if now, err := tables.rules(); err != nil || now != before {
			return saw(err, "the rules were\n%s\nand are now\n%s", before, now)
		}
		return nil
	}
	c, _, raw, err := e.published("c1", e.bridge(), both(8080, 80, ""))
	if err != nil {
		return err
	}
	wall := with(e.firewall(), object{"prevResult": raw})
	if _, _, err := e.add("firewall", c, wall); err != nil {
		return err
	}
	if err := errors.Join(others(), unchanged(), refused(outside, "tcp", "192.0.2.1:8080")); err != nil {
		return fmt.Errorf("while FORWARD drops: %w", err)
	}
	if err := tables.set("-I DOCKER-USER -s 10.9.0.0/24 -j ACCEPT", "-I DOCKER-USER -d 10.9.0.0/24 -j ACCEPT"); err != nil {
		return err
	}
	if err := errors.Join(others(), ours(c)); err != nil {
		return fmt.Errorf("with the containers' subnet accepted: %w", err)
	}
	if err := tables.set("-P FORWARD ACCEPT", "-F", "-t nat -F"); err != nil {
		return err
	}
	if err := ours(c); err != nil {
		return fmt.Errorf("after a flush of the others' rules: %w", err)
	}
	if before, err = tables.rules(); err != nil {
		return err
	}
	return errors.Join(e.del("firewall", c, wall), e.del("portmap", c, portmapConf(both(8080, 80, ""), raw)), e.del("bridge", c, e.bridge()), unchanged())
}

// seenAs asks a server, which must see an address.
func seenAs(from *netns.Handle, target, want string) error {
	seen, err := ask(from, "tcp", target)
	if err == nil && seen.String() != want {
		err = fmt.Errorf("%s saw %s, want %s", target, seen, want)
	}
	return err
}
