package cgroup

import (
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// write is one control file to be written.
type write struct {
	field      string // of linux.resources, for messages
	controller string
	file       string
	value      string
	keyed      bool   // the file is a table; value's first word says which line of it is set
	reset      string // keyed: the value that takes a line away which was not there before
	optional   bool   // the file may be missing
	linked     bool   // the kernel checks this one together with the next
	or         *write // what is written where the file is missing
}

// planner collects the writes of one resource set. It is pure: what it needs to know of the host and of the group's
// present limits are its fields.
type planner struct {
	v2     func(controller string) (v2, present bool)
	now    present
	writes []write
}

// present is what a plan depends on of the limits that a group has already.
type present struct {
	quota string // the first word of v2's cpu.max
}

// fresh is what a group has right after its making.
var fresh = present{quota: "max"}

const noLimit = 1<<64 - 1

// plan returns the writes for r, in the order to try them in. Device rules are planned apart.
func plan(p planner, r *specs.LinuxResources) ([]write, error) {
	if r == nil {
		return nil, nil
	}
	steps := []func(*specs.LinuxResources) error{
		p.cpuset, p.cpu, p.memory, p.pids, p.hugetlb, p.blkio, p.network, p.rdma, p.unified,
	}
	for _, step := range steps {
		if err := step(r); err != nil {
			return nil, err
		}
	}
	return p.writes, nil
}

func (p *planner) add(field, controller, file, value string) *write {
	p.writes = append(p.writes, write{field: field, controller: controller, file: file, value: value})
	return &p.writes[len(p.writes)-1]
}

// need reports where a controller lives, or why the field can't be set.
func (p *planner) need(controller, field string) (v2 bool, err error) {
	v2, ok := p.v2(controller)
	if !ok {
		return false, unable(field, "this host has no %s cgroup controller", controller)
	}
	return v2, nil
}

// invalid is the error for a value that no kernel takes, unable the one for what this host can't do.
func invalid(field, format string, args ...any) error {
	return errdefs.Invalid("linux.resources."+field+": "+format, args...)
}

func unable(field, format string, args ...any) error {
	return errdefs.NotSupported("linux.resources."+field+": "+format, args...)
}

// pids plans the number of tasks. 0 is a limit (runtime-spec 1.3): nothing may be forked. It is written as 1, since a
// cgroup2 group with 0 could not be born into either, and systemd knows no 0.
func (p *planner) pids(r *specs.LinuxResources) error {
	if r.Pids == nil || r.Pids.Limit == nil {
		return nil
	}
	if _, err := p.need("pids", "pids.limit"); err != nil {
		return err
	}
	value := "max"
	if n := *r.Pids.Limit; n >= 0 {
		value = strconv.FormatInt(max(n, 1), 10)
	}
	p.add("pids.limit", "pids", "pids.max", value)
	return nil
}

// maxOr spells a v2 limit; below zero there is none.
func maxOr(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

func set[T int64 | uint64](v *T) bool { return v != nil && *v != 0 }
