package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// maxFile bounds one control file. The largest, memory.stat and cgroup.procs of a group with 4 Mi processes, stay below.
const maxFile = 32 << 20

// Group is one name in all of the host's hierarchies. It holds nothing open.
type Group struct {
	host *Host
	path string // absolute, clean
	sub  string // of a group made by Sub: its name below path, in the tracking hierarchy only

	placeholder *exec.Cmd // of a scope that nobody has joined yet
}

// Open returns the group at path if it exists in at least one hierarchy; else errdefs.ErrNotFound.
func (h *Host) Open(path string) (*Group, error) {
	g, err := h.group(path)
	if err != nil {
		return nil, err
	}
	for _, hi := range h.hierarchies {
		d, err := g.open(hi)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return g, d.Close()
	}
	return nil, errdefs.NotFound("open cgroup %s: it exists in no hierarchy", path)
}

func (h *Host) group(path string) (*Group, error) {
	path, err := h.Resolve(path)
	if err != nil {
		return nil, err
	}
	return &Group{host: h, path: path}, nil
}

// checkPath accepts what names one group and nothing but that: absolute, clean, not the root.
func checkPath(p string) error {
	switch {
	case p == "" || p[0] != '/':
		return errdefs.Invalid("cgroup path %.100q: must be absolute (slice:prefix:name is for the systemd cgroup driver)", p)
	case p == "/":
		return errdefs.Invalid("cgroup path \"/\": the root is not a group of its own")
	case path.Clean(p) != p:
		return errdefs.Invalid("cgroup path %.100q: must be clean (no \"..\", no doubled or trailing slash)", p)
	case len(p) > 4000:
		return errdefs.Invalid("cgroup path %.100q…: longer than 4000 bytes", p)
	case strings.ContainsAny(p, "\x00\n"):
		return errdefs.Invalid("cgroup path %.100q: contains NUL or a line break", p)
	}
	return nil
}

// Path returns the name as given, that of a sub-group with its own part.
func (g *Group) Path() string { return path.Join(g.path, g.sub) }

// below returns the group's path in hi, relative to hi's root.
func (g *Group) below(hi *hierarchy) string {
	if g.sub != "" && hi == g.host.tracker {
		return g.path[1:] + "/" + g.sub
	}
	return g.path[1:]
}

// open returns the group's folder in one hierarchy; the caller closes it.
func (g *Group) open(hi *hierarchy) (*sys.Dir, error) {
	d, err := hi.root.OpenDirBeneath(g.below(hi))
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s in %s: %w", g.Path(), hi.mount, err)
	}
	return d, nil
}

// own lists the hierarchies that the group has a folder of its own in.
func (g *Group) own() []*hierarchy {
	if g.sub != "" {
		return []*hierarchy{g.host.tracker}
	}
	return g.host.hierarchies
}

// JoinFiles opens, for each v1 hierarchy, the file that a process writes "0" to in order to join. It is "tasks" and not
// "cgroup.procs", since a thread that moves itself alone needs no RCU grace period: 15 µs instead of 8 ms a hierarchy. A
// host in mode V2 has none. The caller closes the files. The joining process must be single-threaded.
//
// A new cgroup namespace has to be unshared after joining: its root is where its maker stands.
func (g *Group) JoinFiles() (files []*os.File, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	for _, hi := range g.host.hierarchies {
		if hi.v2 {
			continue
		}
		f, err := hi.root.OpenBeneath(g.below(hi)+"/tasks", os.O_WRONLY)
		if err != nil {
			return nil, fmt.Errorf("open tasks of cgroup %s in %s: %w", g.Path(), hi.mount, err)
		}
		cu.Add(f.Close)
		files = append(files, f)
	}
	cu.Release()
	return files, nil
}

// Dir opens the group's cgroup2 folder for CLONE_INTO_CGROUP. It is nil in mode V1. In mode Hybrid a process must join
// both ways: the cgroup2 group is what Kill, Freeze and Remove get their events from.
func (g *Group) Dir() (*os.File, error) {
	if !g.host.tracker.v2 {
		return nil, nil
	}
	d, err := g.open(g.host.tracker)
	if err != nil {
		return nil, err
	}
	f, err := d.File(path.Join(g.host.tracker.mount, g.below(g.host.tracker)))
	return f, errors.Join(err, d.Close())
}

// Sub makes (or opens) a group below g that only tracks processes: no limits, and only in the hierarchy that Kill works
// in. Its JoinFiles and Dir join g everywhere else. It lets an exec'd process be killed with all its children.
func (g *Group) Sub(_ context.Context, name string) (*Group, error) {
	if g.sub != "" {
		return nil, errdefs.Invalid("make cgroup %s below %s: only one level of sub-groups", name, g.Path())
	}
	s := &Group{host: g.host, path: g.path, sub: name}
	if err := checkPath(s.Path()); err != nil || strings.Contains(name, "/") || name == "" {
		return nil, errors.Join(errdefs.Invalid("make cgroup %.100q below %s: bad name", name, g.Path()), err)
	}
	d, err := g.open(g.host.tracker)
	if err != nil {
		return nil, err
	}
	err = d.Mkdir(name, 0o755)
	if errors.Is(err, syscall.EEXIST) {
		err = nil
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, fmt.Errorf("make cgroup %s: %w", s.Path(), err)
	}
	return s, nil
}
