package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"syscall"

	"github.com/berth-runtime/berth/internal/sys"
)

// maxDepth bounds how deep groups that a container made below its own are followed.
const maxDepth = 64

// PIDs lists the processes in the group and in its children, sorted. A group that does not exist holds none.
func (g *Group) PIDs() ([]int, error) {
	pids, err := g.pidsIn(g.host.tracker)
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup %s: %w", g.Path(), err)
	}
	return pids, nil
}

func (g *Group) pidsIn(hi *hierarchy) ([]int, error) {
	d, err := g.open(hi)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	err = walk(d, maxDepth, func(dir *sys.Dir) error {
		here, err := readPIDs(dir)
		pids = append(pids, here...)
		return err
	})
	slices.Sort(pids)
	return slices.Compact(pids), errors.Join(err, d.Close())
}

// walk calls visit for every group below dir, deepest first, and then for dir. Groups that vanish meanwhile are skipped.
func walk(dir *sys.Dir, depth int, visit func(*sys.Dir) error) error {
	names, err := childGroups(dir)
	if err != nil {
		return err
	}
	if len(names) > 0 && depth == 0 {
		return fmt.Errorf("groups are nested more than %d deep", maxDepth)
	}
	for _, name := range names {
		child, err := dir.OpenDir(name)
		if gone(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open child group %s: %w", name, err)
		}
		if err := errors.Join(walk(child, depth-1, visit), child.Close()); err != nil {
			return err
		}
	}
	return visit(dir)
}

// childGroups lists the folders in a group. Their number is in the link count (kernfs), so most groups need no listing.
func childGroups(dir *sys.Dir) ([]string, error) {
	st, err := dir.Stat()
	if gone(err) || (err == nil && st.Nlink == 2) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at group: %w", err)
	}
	entries, err := dir.Entries()
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list child groups: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// readPIDs reads one group's cgroup.procs. EOPNOTSUPP comes from a threaded cgroup2 group, whose processes show in its
// domain above.
func readPIDs(dir *sys.Dir) ([]int, error) {
	data, err := dir.ReadFile("cgroup.procs", maxFile)
	if gone(err) || errors.Is(err, syscall.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read cgroup.procs: %w", err)
	}
	return parsePIDs(data)
}

// parsePIDs reads one number a line. Zero stands for a process of a PID namespace that we don't see.
func parsePIDs(data []byte) ([]int, error) {
	var pids []int
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		n, err := strconv.ParseUint(string(line), 10, 31)
		if err != nil {
			return nil, fmt.Errorf("parse cgroup.procs: %w", err)
		}
		if n != 0 {
			pids = append(pids, int(n))
		}
	}
	return pids, nil
}

// gone tells whether a group vanished under an open folder or before it was opened.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) }
