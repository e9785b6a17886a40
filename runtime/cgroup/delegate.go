package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// controllers lists what a new group needs of a cgroup2 hierarchy: everything in mode V2, for the stats; elsewhere only
// what a limit was given for, since switching controllers on is a change to groups that are not ours.
func (m *maker) controllers(hi *hierarchy) []string {
	if !hi.v2 {
		return nil
	}
	if m.host.mode == V2 {
		return hi.controllers
	}
	var need []string
	for _, w := range m.writes {
		if m.host.byController[w.controller] == hi && !slices.Contains(need, w.controller) {
			need = append(need, w.controller)
		}
	}
	return need
}

// missing lists the needed controllers that are off for the children of dir.
func (m *maker) missing(hi *hierarchy, dir *sys.Dir) ([]string, error) {
	want := m.controllers(hi)
	if len(want) == 0 {
		return nil, nil
	}
	data, err := dir.ReadFile("cgroup.subtree_control", maxFile)
	if err != nil {
		return nil, goneOr(err, "read cgroup.subtree_control")
	}
	on := strings.Fields(string(data))
	return slices.DeleteFunc(slices.Clone(want), func(c string) bool { return slices.Contains(on, c) }), nil
}

// delegate switches the needed controllers on for the children of dir (Documentation/admin-guide/cgroup-v2.rst,
// "Enabling and Disabling"). A controller that can't be switched on and that no limit needs is left off.
func (m *maker) delegate(hi *hierarchy, dir *sys.Dir) error {
	want, err := m.missing(hi, dir)
	if err != nil || len(want) == 0 {
		return err
	}
	if dir.WriteFile("cgroup.subtree_control", "+"+strings.Join(want, " +")) == nil {
		return nil
	}
	for _, c := range want { // one by one, to learn which it is
		err := dir.WriteFile("cgroup.subtree_control", "+"+c)
		if err != nil && m.limits(c) {
			return delegateError(c, err)
		}
	}
	return nil
}

func (m *maker) limits(controller string) bool {
	return slices.ContainsFunc(m.writes, func(w write) bool { return w.controller == controller })
}

func delegateError(controller string, err error) error {
	if errors.Is(err, syscall.EBUSY) {
		return errdefs.New(errdefs.ErrFailedPrecondition,
			"switch on the %s controller: the parent group holds processes itself, which cgroup v2 forbids; move them to a child: %w", controller, err)
	}
	return fmt.Errorf("switch on the %s controller in the parent group: %w", controller, err)
}
