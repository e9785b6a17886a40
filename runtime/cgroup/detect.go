package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/systemd"
)

// Mode says which cgroup versions hold the host's controllers.
type Mode string

// V1 has no cgroup2 mount at all; Hybrid has controllers on v1 hierarchies and a cgroup2 mount beside them, with those
// controllers that v1 does not use; V2 has everything on one cgroup2 mount.
const (
	V1     Mode = "v1"
	Hybrid Mode = "hybrid"
	V2     Mode = "v2"
)

// v1Controllers are the names that a v1 mount's options are searched for; other options are flags.
var v1Controllers = [...]string{
	"cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer", "blkio", "hugetlb",
	"net_cls", "net_prio", "perf_event", "rdma", "misc",
}

// hierarchy is one mounted tree of groups.
type hierarchy struct {
	root        *sys.Dir
	mount       string
	v2          bool
	controllers []string
	name        string // v1 only: of name=…
}

// Host is the machine's set of hierarchies. It is immutable; its root fds live until Close.
type Host struct {
	mode         Mode
	hierarchies  []*hierarchy
	byController map[string]*hierarchy
	tracker      *hierarchy // where processes are listed, killed, frozen and waited for: cgroup2, else freezer
	units        Units      // nil: the driver is cgroupfs
}

// Detect finds the cgroup mounts of this process's mount namespace. It fails with errdefs.ErrNotSupported where there
// is none that can be written to.
func Detect() (*Host, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("detect cgroups: %w", err)
	}
	mounts, err := parseMountinfo(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("detect cgroups: %w", err)
	}
	return newHost(mounts, systemd.Booted())
}

// newHost takes note of the name=systemd hierarchy only if systemd manages the host: else nothing reads it, and a group in
// it would only cost time.
func newHost(mounts []mountPoint, booted bool) (_ *Host, err error) {
	h := &Host{byController: map[string]*hierarchy{}}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(h.Close)
	var v2 *hierarchy
	for _, m := range mounts {
		if m.readOnly || (m.v2 && v2 != nil) {
			continue
		}
		hi, err := openHierarchy(m)
		if errors.Is(err, fs.ErrNotExist) {
			continue // hidden below a later mount
		}
		if err != nil {
			return nil, err
		}
		if !h.adopt(hi, booted) {
			if err := hi.root.Close(); err != nil {
				return nil, fmt.Errorf("detect cgroups: %w", err)
			}
			continue
		}
		if hi.v2 {
			v2 = hi
		}
	}
	if len(h.hierarchies) == 0 {
		return nil, errdefs.NotSupported("detect cgroups: no writable cgroup mount in /proc/self/mountinfo; mount cgroup2 on /sys/fs/cgroup")
	}
	h.decide(v2)
	cu.Release()
	return h, nil
}

// adopt keeps a hierarchy that brings something new.
func (h *Host) adopt(hi *hierarchy, booted bool) bool {
	fresh := hi.v2 || (hi.name == "systemd" && booted)
	for _, c := range hi.controllers {
		if h.byController[c] == nil {
			h.byController[c] = hi
			fresh = true
		}
	}
	if fresh {
		h.hierarchies = append(h.hierarchies, hi)
	}
	return fresh
}

func (h *Host) decide(v2 *hierarchy) {
	h.tracker = v2
	switch {
	case v2 == nil:
		h.mode = V1
		h.tracker = h.byController["freezer"]
		if h.tracker == nil {
			h.tracker = h.hierarchies[0]
		}
	case len(h.hierarchies) > 1:
		h.mode = Hybrid
	default:
		h.mode = V2
	}
}

func openHierarchy(m mountPoint) (*hierarchy, error) {
	root, err := sys.OpenDir(m.path)
	if err != nil {
		return nil, fmt.Errorf("open cgroup mount %s: %w", m.path, err)
	}
	hi := &hierarchy{root: root, mount: m.path, v2: m.v2}
	if !m.v2 {
		hi.controllers, hi.name = v1Identity(m.options)
		return hi, nil
	}
	data, err := root.ReadFile("cgroup.controllers", maxFile)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read cgroup.controllers in %s: %w", m.path, err), root.Close())
	}
	hi.controllers = strings.Fields(string(data))
	return hi, nil
}

func v1Identity(options []string) (controllers []string, name string) {
	for _, o := range options {
		if n, ok := strings.CutPrefix(o, "name="); ok {
			name = n
		} else if slices.Contains(v1Controllers[:], o) {
			controllers = append(controllers, o)
		}
	}
	return controllers, name
}

// Mode tells which versions are in use.
func (h *Host) Mode() Mode { return h.mode }

// Has tells whether limits of a controller ("memory", "hugetlb" …) can be set here.
func (h *Host) Has(controller string) bool { return h.byController[controller] != nil }

// Close releases the root fds. Groups of this host are unusable afterwards.
func (h *Host) Close() error {
	var errs []error
	for _, hi := range h.hierarchies {
		errs = append(errs, hi.root.Close())
	}
	return errors.Join(errs...)
}

// Hierarchy describes one mounted tree, for those who show it to a container.
type Hierarchy struct {
	Mount   string // where the host has it
	V2      bool
	Options string // v1: what a new mount of it takes as data: "cpu,cpuacct" or "none,name=systemd"
}

// Hierarchies lists what groups are made in.
func (h *Host) Hierarchies() []Hierarchy {
	list := make([]Hierarchy, 0, len(h.hierarchies))
	for _, hi := range h.hierarchies {
		e := Hierarchy{Mount: hi.mount, V2: hi.v2}
		if !hi.v2 {
			e.Options = strings.Join(hi.controllers, ",")
			if hi.name != "" {
				e.Options = "none,name=" + hi.name
			}
		}
		list = append(list, e)
	}
	return list
}
