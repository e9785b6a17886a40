package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/pause"
	"github.com/berth-runtime/berth/runtime/systemd"
)

// Units makes, changes and ends systemd's units. [systemd.Client] does.
type Units interface {
	StartScope(ctx context.Context, u systemd.Unit, description string, pid int, props []systemd.Property) error
	StartSlice(ctx context.Context, name, description string, props []systemd.Property) error
	SetProperties(ctx context.Context, unit string, props []systemd.Property) error
	StopUnit(ctx context.Context, unit string) error
}

// UseSystemd returns the same host with systemd as its cgroup driver: groups whose path is a scope's or a
// slice's (see [systemd.Unit.Path]) are made, changed and removed through it; slice:prefix:name stands for the path of a
// scope. Others, and what is below a scope, which is delegated, are handled as before. The result shares h's descriptors.
func (h *Host) UseSystemd(u Units) *Host {
	with := *h
	with.units = u
	return &with
}

// Resolve turns linux.cgroupsPath, which all methods take as it is, into a path below the mounts. ErrInvalid for systemd's
// form without systemd.
func (h *Host) Resolve(path string) (string, error) {
	if h.units == nil || strings.HasPrefix(path, "/") {
		return path, checkPath(path)
	}
	u, err := systemd.ParsePath(path)
	return u.Path(), err
}

// unit returns the unit that the group is, if it is one; a slice's has no slice above it but in its name.
func (g *Group) unit() (_ systemd.Unit, ok bool) {
	if g.host.units == nil || g.sub != "" {
		return systemd.Unit{}, false
	}
	if name, ok := systemd.SliceOf(g.path); ok {
		return systemd.Unit{Name: name}, true
	}
	return systemd.UnitOf(g.path)
}

// start has systemd make the unit. It takes no empty scope, so a placeholder goes first.
func (g *Group) start(ctx context.Context, u systemd.Unit, props []systemd.Property) (err error) {
	if u.Slice == "" {
		return g.host.units.StartSlice(ctx, u.Name, "pod "+g.path, props)
	}
	if g.placeholder, err = startPlaceholder(); err != nil {
		return err
	}
	return g.host.units.StartScope(ctx, u, "container "+g.path, g.placeholder.Process.Pid, props)
}

// createUnit is Create for a unit of systemd's: it makes the group; what it does not know (hierarchies and limits) is then
// done as for any group.
func (m *maker) createUnit(ctx context.Context, g *Group, u systemd.Unit) (err error) {
	for _, hi := range m.host.hierarchies {
		d, err := g.open(hi)
		if err == nil {
			return errors.Join(errdefs.Exists("create cgroup %s: it exists already", g.path), d.Close())
		}
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(g.Vacate)
	err = g.start(ctx, u, append(properties(m.writes), m.guard.properties()...))
	if !errors.Is(err, errdefs.ErrExists) { // else the unit is somebody else's; a start that failed may have left one
		cu.Add(func() error { return m.host.units.StopUnit(context.WithoutCancel(ctx), u.Name) })
		cu.Add(g.Vacate) // before the unit is stopped, which waits for it
	}
	if err != nil {
		return fmt.Errorf("create cgroup %s: %w", g.path, err)
	}
	m.ensure = true
	if err := m.makeAll(ctx, cu, g.path); err != nil {
		return fmt.Errorf("create %w", err)
	}
	cu.Release()
	return nil
}

// startPlaceholder starts a process that does nothing, of a few hundred bytes.
func startPlaceholder() (*exec.Cmd, error) {
	program, err := pause.Program(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	f, err := sys.ExecutableMemory("berth-placeholder", program)
	if err != nil {
		return nil, fmt.Errorf("make a placeholder process: %w", err)
	}
	cmd := &exec.Cmd{Path: fmt.Sprintf("/proc/self/fd/%d", f.Fd()), Args: []string{"berth-placeholder"}, Dir: "/", Env: []string{}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(cmd.Start(), f.Close()); err != nil {
		return nil, fmt.Errorf("start a placeholder process: %w", err)
	}
	return cmd, nil
}

// Vacate takes the placeholder out of a group that systemd has made. It is to be called once a process has joined; without
// one the group ends. For any other group it does nothing.
func (g *Group) Vacate() error {
	cmd := g.placeholder
	if cmd == nil {
		return nil
	}
	g.placeholder = nil
	err := cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	var killed *exec.ExitError
	if wait := cmd.Wait(); wait != nil && !errors.As(wait, &killed) {
		err = errors.Join(err, wait)
	}
	if err != nil {
		return fmt.Errorf("end the placeholder of cgroup %s: %w", g.path, err)
	}
	return nil
}

// tell has systemd know what was written to the group's files.
func (g *Group) tell(ctx context.Context, writes []write, guard *deviceGuard) error {
	u, ok := g.unit()
	if !ok {
		return nil
	}
	return g.host.units.SetProperties(ctx, u.Name, append(properties(writes), guard.properties()...))
}
