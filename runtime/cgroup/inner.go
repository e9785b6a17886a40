package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Joinable returns the group that a process which belongs to g can join: g, or, where g has controllers switched on for groups
// below it, the one of these that process pid is in. On cgroup v2 a group holds either processes or such groups (cgroup-v2.rst,
// "No Internal Process Constraint"), and a container that was given its group, such as one with systemd in it, makes
// groups.
func (g *Group) Joinable(pid int) (*Group, error) {
	if g.host.mode != V2 || g.sub != "" {
		return g, nil
	}
	hi := g.host.tracker
	d, err := g.open(hi)
	if err != nil {
		return nil, err
	}
	on, err := d.ReadFile("cgroup.subtree_control", maxFile)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, fmt.Errorf("look at what cgroup %s is divided by: %w", g.Path(), err)
	}
	if strings.TrimSpace(string(on)) == "" {
		return g, nil
	}
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil, fmt.Errorf("look for the group of process %d: %w", pid, err)
	}
	sub, err := subOf(string(data), g.path)
	if err != nil {
		return nil, err
	}
	return &Group{host: g.host, path: g.path, sub: sub}, nil
}

// subOf reads the cgroup2 line of a /proc/PID/cgroup and returns where below a path it is; "" is the path itself.
func subOf(file, above string) (string, error) {
	for line := range strings.Lines(file) {
		at, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		sub, below := strings.CutPrefix(at, above)
		if below && (sub == "" || sub[0] == '/') && path.Clean(at) == at {
			return strings.TrimPrefix(sub, "/"), nil
		}
		return "", errdefs.FailedPrecondition("its first process has left the control group %s, which nothing can join any more: it is in %.200q", above, at)
	}
	return "", errdefs.NotSupported("/proc/PID/cgroup has no line of cgroup v2")
}
