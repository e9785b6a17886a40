package cgroup

import (
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/sys"
)

// deviceGuard puts device rules in force in the form that one hierarchy takes: a list in v1, a BPF program in cgroup2.
type deviceGuard struct {
	hi      *hierarchy
	list    *deviceList
	program []sys.BPFInsn
}

// devicesOn returns the hierarchy that guards devices: v1's controller where it is mounted, else a cgroup2 one.
func (h *Host) devicesOn() *hierarchy {
	if hi := h.byController["devices"]; hi != nil {
		return hi
	}
	if h.tracker.v2 {
		return h.tracker
	}
	return nil
}

// planGuard is nil where no rules are given.
func (h *Host) planGuard(given []specs.LinuxDeviceCgroup) (*deviceGuard, error) {
	if len(given) == 0 {
		return nil, nil
	}
	rules, err := planDevices(given)
	if err != nil {
		return nil, err
	}
	g := &deviceGuard{hi: h.devicesOn()}
	switch {
	case g.hi == nil:
		return nil, unable("devices", "this host has neither a devices controller nor cgroup2")
	case g.hi.v2:
		g.program = rules.program()
	default:
		g.list, err = rules.fold()
	}
	return g, err
}

// install puts the rules in force for a group that has none of its own yet.
func (g *deviceGuard) install(group *sys.Dir) error {
	if g.list != nil {
		return g.list.install(group, &deviceList{}, true)
	}
	if err := sys.AttachDeviceFilter(group, g.program); err != nil {
		return fmt.Errorf("linux.resources.devices: attach the BPF program: %w", err)
	}
	return nil
}

// update replaces the rules of a group: on cgroup2 at once (BPF_F_REPLACE, Linux 5.6), on v1 line by line. If a line is
// refused, the lines before it are taken back, but for groups that allow by default: the kernel does not tell what such
// a group denies, so that it stays at what was set of the new list, which never grants more than both.
func (g *deviceGuard) update(group *sys.Dir) error {
	if g.list == nil {
		return g.install(group)
	}
	data, err := group.ReadFile("devices.list", maxFile)
	if err != nil {
		return fmt.Errorf("read devices.list: %w", err)
	}
	before, err := parseDeviceList(data)
	if err != nil {
		return err
	}
	whole := before.allow || g.list.allow
	if err = g.list.install(group, before, whole); err == nil || whole {
		return err
	}
	if undo := before.install(group, g.list, false); undo != nil {
		err = errors.Join(err, fmt.Errorf("set back: %w", undo))
	}
	return err
}
