package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/netns"
)

// crashCases kill plugins in the middle of their work.
func crashCases() []testCase {
	return []testCase{
		{"crash/ADD killed at any time, then DEL: nothing is left", func(e *env) error { return killed(e, e.delKilled) }},
		{"crash/ADD killed at any time, then GC: nothing is left", func(e *env) error { return killed(e, e.gcKilled) }},
		{"crash/DEL killed at any time, then DEL: nothing is left", killedDel},
	}
}

// killSteps are how far into a run of some milliseconds the kills are spread.
const killSteps = 40

// interrupt runs a call and kills it after a while.
func (e *env) interrupt(k call, conf object, after time.Duration) error {
	cmd, err := e.command(context.Background(), k, conf)
	if err != nil {
		return err
	}
	if err := e.host.Do(cmd.Start); err != nil {
		return err
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it may have ended, which is the last of the points
	defer timer.Stop()
	if err := cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		return err
	}
	return nil
}

// killed kills ADDs, lets clean clean up after them, and looks for remains.
func killed(e *env, clean func([]*container, object) error) error {
	conf := with(e.bridge(), object{"runtimeConfig": both(8080, 80, "")})
	warm, _, _, err := e.attached("warm", e.bridge())
	if err != nil {
		return err
	}
	began := time.Now()
	if err := e.del("bridge", warm, e.bridge()); err != nil {
		return err
	}
	span := 3 * time.Since(began)
	var all []*container
	for i := range killSteps {
		c, err := e.container(fmt.Sprint("c", i))
		if err != nil {
			return err
		}
		all = append(all, c)
		if err := e.interrupt(call{plugin: "bridge", verb: "ADD", c: c}, conf, span*time.Duration(i)/killSteps); err != nil {
			return err
		}
		if i%8 == 7 {
			if err := clean(all, conf); err != nil {
				return err
			}
		}
	}
	if err := clean(all, conf); err != nil {
		return err
	}
	if err := e.nothingReserved(); err != nil {
		return err
	}
	c, _, raw, err := e.attached("last", conf)
	if err != nil {
		return fmt.Errorf("ADD after the crashes: %w", err)
	}
	return e.check("bridge", c, conf, raw)
}

func (e *env) delKilled(all []*container, conf object) error {
	for _, c := range all {
		if err := e.del("bridge", c, conf); err != nil {
			return err
		}
		if _, err := c.ns.Netlink().LinkByName("eth0"); !errors.As(err, new(netlink.LinkNotFoundError)) {
			return saw(err, "eth0 is left in %s", c.id)
		}
	}
	return nil
}

func (e *env) gcKilled(_ []*container, conf object) error {
	if err := e.gc("bridge", conf); err != nil {
		return err
	}
	return e.onlyLinks()
}

func killedDel(e *env) error {
	conf := with(e.bridge(), object{"runtimeConfig": both(8080, 80, "")})
	for i := range killSteps {
		c, _, _, err := e.attached(fmt.Sprint("c", i), conf)
		if err != nil {
			return err
		}
		if err := e.interrupt(call{plugin: "bridge", verb: "DEL", c: c}, conf, time.Duration(i)*300*time.Microsecond); err != nil {
			return err
		}
		if err := e.delKilled([]*container{c}, conf); err != nil {
			return err
		}
	}
	return e.nothingReserved()
}

// setSysctl writes a setting in a namespace.
func setSysctl(ns *netns.Handle, key, value string) error {
	return ns.Do(func() error { return os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644) })
}

// dropLoopback makes 127.0.0.1 an address like any other.
func dropLoopback(ns *netns.Handle) error {
	lo, err := ns.Netlink().LinkByName("lo")
	if err != nil {
		return err
	}
	addrs, err := ns.Netlink().AddrList(lo, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if err := ns.Netlink().AddrDel(lo, &a); err != nil {
			return err
		}
	}
	return nil
}

func routeOut(ns *netns.Handle, index int, dst, gateway string) error {
	_, n, err := net.ParseCIDR(dst)
	if err != nil {
		return err
	}
	return ns.Netlink().RouteAdd(&netlink.Route{LinkIndex: index, Dst: n, Gw: net.ParseIP(gateway)})
}
