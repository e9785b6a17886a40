package oci

import (
	"errors"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/systemd"
)

// withHost calls f with the machine's control groups, whose driver is systemd if that is asked for.
func withHost(bySystemd bool, f func(*cgroup.Host) error) (err error) {
	host, err := cgroup.Detect()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	if !bySystemd {
		return f(host)
	}
	manager, err := systemd.New()
	if err != nil {
		return err
	}
	return f(host.UseSystemd(manager))
}

// withGroup calls f with a container's control group. A group that is gone is ErrNotFound.
func (c *container) withGroup(f func(*cgroup.Group) error) error {
	find := func(host *cgroup.Host) error {
		g, err := host.Open(c.rec.Cgroup)
		if err != nil {
			return err
		}
		return f(g)
	}
	if c.host != nil {
		return find(c.host)
	}
	return withHost(c.rec.Systemd, find)
}

// resolve replaces linux.cgroupsPath by the path of the container's group.
func (r *Runtime) resolve(host *cgroup.Host, spec *specs.Spec, id string) (err error) {
	path := &spec.Linux.CgroupsPath
	if !r.cfg.Systemd {
		*path = cgroupPath(*path, id)
		return nil
	}
	switch {
	case *path == "":
		*path = ":berth-oci:" + id
	case strings.HasPrefix(*path, "/"):
		return errdefs.Invalid("linux.cgroupsPath: %.100q is not of the form slice:prefix:name, as systemd wants it", *path)
	}
	*path, err = host.Resolve(*path)
	return err
}

// cgroupPath returns where a container's group is: as the spec says, below a folder of our own if that is relative, and
// named after the container if it says nothing.
func cgroupPath(path, id string) string {
	switch {
	case path == "":
		return "/berth-oci/" + id
	case strings.HasPrefix(path, "/"):
		return path
	}
	return "/berth-oci/" + path
}
