package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/link"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/cni-plugins/internal/sysctl"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
)

// values are settings of a link and of its namespace. Zero values are those that nobody asks for.
type values struct {
	MAC      string  `json:"mac,omitempty"`
	MTU      int     `json:"mtu,omitempty"`
	Promisc  *bool   `json:"promisc,omitempty"`
	AllMulti *bool   `json:"allmulti,omitempty"`
	TxQLen   *int    `json:"txQLen,omitempty"`
	Sysctls  sysctls `json:"sysctl,omitempty"`
}

// target is a link in a namespace.
type target struct {
	ns   *netns.Handle
	name string
}

func (t target) find() (netlink.Link, error) { return link.Find(t.ns.Netlink(), t.name) }

// read returns what is there now of the values that v has. Settings that can only be written are left out.
func (t target) read(v values) (values, error) {
	l, err := t.find()
	if err != nil {
		return values{}, err
	}
	a := l.Attrs()
	var now values
	if v.MAC != "" {
		now.MAC = a.HardwareAddr.String()
	}
	if v.MTU != 0 {
		now.MTU = a.MTU
	}
	if v.Promisc != nil {
		now.Promisc = new(a.RawFlags&syscall.IFF_PROMISC != 0)
	}
	if v.AllMulti != nil {
		now.AllMulti = new(a.RawFlags&syscall.IFF_ALLMULTI != 0)
	}
	if v.TxQLen != nil {
		now.TxQLen = new(a.TxQLen)
	}
	now.Sysctls, err = t.readSysctls(v.Sysctls)
	return now, err
}

func (t target) readSysctls(list sysctls) (now sysctls, err error) {
	err = t.eachSysctl(list, func(s oneSysctl) error {
		parts, err := sysctl.ParseKey(s.Key, t.name)
		if err != nil {
			return err
		}
		value, err := sysctl.Get(parts...)
		if errors.Is(err, fs.ErrNotExist) {
			return errdefs.Invalid("sysctl %s: there is no such setting in the container's namespace", s.Key)
		}
		if err == nil && !strings.Contains(value, "\n") { // else it can't be read, or not be written as one value
			now = append(now, oneSysctl{Key: s.Key, Value: value})
		}
		return nil
	})
	return now, err
}

// write sets the values and stops at the first that can't be set.
func (t target) write(v values) error {
	if err := t.eachSysctl(v.Sysctls, t.writeSysctl); err != nil {
		return err
	}
	l, err := t.find()
	if err != nil {
		return err
	}
	for _, step := range t.steps(l, v) {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// restore is write for values of before: it goes on after an error, the other way round, and what is gone needs nothing.
func (t target) restore(v values) error {
	var errs []error
	l, err := t.find()
	switch {
	case err == nil:
		for _, step := range slices.Backward(t.steps(l, v)) {
			errs = append(errs, step())
		}
	case !errors.Is(err, errdefs.ErrNotFound):
		errs = append(errs, err)
	}
	backward := slices.Clone(v.Sysctls)
	slices.Reverse(backward)
	errs = append(errs, t.eachSysctl(backward, func(s oneSysctl) error {
		if err := t.writeSysctl(s); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		return nil
	}))
	return errors.Join(errs...)
}

// eachSysctl calls f for each setting in the container's namespace, until it returns an error.
func (t target) eachSysctl(list sysctls, f func(oneSysctl) error) error {
	if len(list) == 0 {
		return nil
	}
	return t.ns.Do(func() error {
		for _, s := range list {
			if err := f(s); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeSysctl runs in the container's namespace.
func (t target) writeSysctl(s oneSysctl) error {
	parts, err := sysctl.ParseKey(s.Key, t.name)
	if err != nil {
		return err
	}
	err = sysctl.Set(s.Value, parts...)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return errdefs.Invalid("sysctl %s belongs to the whole node, not to a container; set it on the node: %w", s.Key, err)
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ERANGE):
		return errdefs.Invalid("sysctl %s does not take the value %q: %w", s.Key, s.Value, err)
	}
	return err
}

// steps are the changes of a link, in the order in which they are made.
func (t target) steps(l netlink.Link, v values) []func() error {
	h := t.ns.Netlink()
	var steps []func() error
	add := func(what string, value any, set func() error) {
		steps = append(steps, func() error { return t.explain(what, value, set()) })
	}
	if v.MAC != "" {
		add("mac", v.MAC, func() error {
			mac, err := net.ParseMAC(v.MAC)
			if err != nil {
				return err
			}
			return h.LinkSetHardwareAddr(l, mac)
		})
	}
	if v.Promisc != nil {
		add("promisc", *v.Promisc, func() error { return choose(*v.Promisc, h.SetPromiscOn, h.SetPromiscOff)(l) })
	}
	if v.MTU != 0 {
		add("mtu", v.MTU, func() error { return h.LinkSetMTU(l, v.MTU) })
	}
	if v.AllMulti != nil {
		add("allmulti", *v.AllMulti, func() error {
			return choose(*v.AllMulti, h.LinkSetAllmulticastOn, h.LinkSetAllmulticastOff)(l)
		})
	}
	if v.TxQLen != nil {
		add("txQLen", *v.TxQLen, func() error { return h.LinkSetTxQLen(l, *v.TxQLen) })
	}
	return steps
}

func choose(on bool, yes, no func(netlink.Link) error) func(netlink.Link) error {
	if on {
		return yes
	}
	return no
}

func (t target) explain(what string, value any, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EADDRNOTAVAIL):
		return errdefs.Invalid("set %s of %s to %v: the link does not take it: %w", what, t.name, value, err)
	}
	return fmt.Errorf("set %s of %s to %v: %w", what, t.name, value, err)
}

// compare returns the first difference as an error for CHECK. Blanks in the values of sysctls are all alike.
func (t target) compare(want, now values) error {
	differs := func(what string, want, now any) error {
		return plugin.Mismatch("%s of %s is %v; the configuration says %v", what, t.name, now, want)
	}
	switch {
	case want.MAC != now.MAC:
		return differs("mac", want.MAC, now.MAC)
	case want.MTU != now.MTU:
		return differs("mtu", want.MTU, now.MTU)
	case want.Promisc != nil && *want.Promisc != *now.Promisc:
		return differs("promisc", *want.Promisc, *now.Promisc)
	case want.AllMulti != nil && *want.AllMulti != *now.AllMulti:
		return differs("allmulti", *want.AllMulti, *now.AllMulti)
	case want.TxQLen != nil && *want.TxQLen != *now.TxQLen:
		return differs("txQLen", *want.TxQLen, *now.TxQLen)
	}
	for _, s := range want.Sysctls {
		if i := now.Sysctls.find(s.Key); i >= 0 && !slices.Equal(strings.Fields(s.Value), strings.Fields(now.Sysctls[i].Value)) {
			return differs("sysctl "+s.Key, s.Value, now.Sysctls[i].Value)
		}
	}
	return nil
}
