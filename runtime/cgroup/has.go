package cgroup

import "slices"

// Has tells whether a process is in the group or in one of its children.
func (g *Group) Has(pid int) (bool, error) {
	pids, err := g.PIDs()
	return slices.Contains(pids, pid), err
}
