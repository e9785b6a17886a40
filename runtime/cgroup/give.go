package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Give makes a user of the host's the owner of a group of a pure cgroup v2, so that it can make groups below it: the folder and
// the files that the kernel names for that (runtime-spec, config-linux.md, "Cgroup ownership"). Limits stay root's. In
// other modes it does nothing, as no hierarchy of v1 is safe in the hands of others.
func (g *Group) Give(uid, gid uint32) (err error) {
	if g.host.mode != V2 {
		return nil
	}
	names, err := delegated()
	if err != nil {
		return err
	}
	for _, hi := range g.host.hierarchies {
		if err := g.give(hi, names, uid, gid); err != nil {
			return fmt.Errorf("give cgroup %s to user %d: %w", g.path, uid, err)
		}
	}
	return nil
}

func (g *Group) give(hi *hierarchy, names []string, uid, gid uint32) (err error) {
	dir, err := g.open(hi)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if err := dir.Chown(uid, gid); err != nil {
		return err
	}
	for _, name := range names {
		if err := dir.ChownAt(name, uid, gid); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("file %s: %w", name, err)
		}
	}
	return nil
}

// delegated lists the files that the owner of a group gets (/sys/kernel/cgroup/delegate, Linux 4.15;
// cgroup-v2.rst, "Model of Delegation").
func delegated() ([]string, error) {
	data, err := os.ReadFile("/sys/kernel/cgroup/delegate")
	if errors.Is(err, fs.ErrNotExist) {
		return []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask which files of a cgroup its owner gets: %w", err)
	}
	var names []string
	for name := range strings.FieldsSeq(string(data)) {
		if !strings.ContainsRune(name, '/') {
			names = append(names, name)
		}
	}
	return names, nil
}
