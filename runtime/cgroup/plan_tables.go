package cgroup

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// hugetlb plans limits of use and, since Linux 5.7, of reservation, by which a process learns in time.
func (p *planner) hugetlb(r *specs.LinuxResources) error {
	for i, l := range r.HugepageLimits {
		field := fmt.Sprintf("hugepageLimits[%d]", i)
		v2, err := p.need("hugetlb", field)
		if err != nil {
			return err
		}
		if !validPageSize(l.Pagesize) {
			return invalid(field+".pageSize", "%.32q is not of the form 2MB", l.Pagesize)
		}
		prefix, suffix, value := "hugetlb."+l.Pagesize, ".limit_in_bytes", strconv.FormatUint(l.Limit, 10)
		if v2 {
			suffix = ".max"
		}
		if l.Limit > 1<<62 { // the kernel's own "no limit" differs by page size and version
			value = "-1"
			if v2 {
				value = "max"
			}
		}
		p.add(field+".limit", "hugetlb", prefix+suffix, value)
		p.add(field+".limit", "hugetlb", prefix+".rsvd"+suffix, value).optional = true
	}
	return nil
}

func validPageSize(s string) bool {
	n := strings.TrimLeft(s, "0123456789")
	return len(n) < len(s) && len(s) <= 16 && (n == "KB" || n == "MB" || n == "GB")
}

// network plans v1's classes and priorities. cgroup2 has neither.
func (p *planner) network(r *specs.LinuxResources) error {
	if r.Network == nil {
		return nil
	}
	if r.Network.ClassID != nil {
		if _, err := p.need("net_cls", "network.classID"); err != nil {
			return err
		}
		p.add("network.classID", "net_cls", "net_cls.classid", strconv.FormatUint(uint64(*r.Network.ClassID), 10))
	}
	for i, prio := range r.Network.Priorities {
		field := fmt.Sprintf("network.priorities[%d]", i)
		if _, err := p.need("net_prio", field); err != nil {
			return err
		}
		if !validName(prio.Name) {
			return invalid(field+".name", "%.32q is not the name of an interface", prio.Name)
		}
		w := p.add(field, "net_prio", "net_prio.ifpriomap", prio.Name+" "+strconv.FormatUint(uint64(prio.Priority), 10))
		w.keyed, w.reset = true, prio.Name+" 0"
	}
	return nil
}

// validName accepts what can stand as one word in a table.
func validName(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsAny(s, " \t\n\r\x00/=")
}

func (p *planner) rdma(r *specs.LinuxResources) error {
	for _, dev := range slices.Sorted(maps.Keys(r.Rdma)) {
		field := fmt.Sprintf("rdma[%.64s]", dev)
		if _, err := p.need("rdma", field); err != nil {
			return err
		}
		if !validName(dev) {
			return invalid(field, "%.64q is not the name of a device", dev)
		}
		value, reset := dev, dev
		if n := r.Rdma[dev].HcaHandles; n != nil {
			value += " hca_handle=" + strconv.FormatUint(uint64(*n), 10)
			reset += " hca_handle=max"
		}
		if n := r.Rdma[dev].HcaObjects; n != nil {
			value += " hca_object=" + strconv.FormatUint(uint64(*n), 10)
			reset += " hca_object=max"
		}
		if value == dev {
			return invalid(field, "neither hcaHandles nor hcaObjects is given")
		}
		w := p.add(field, "rdma", "rdma.max", value)
		w.keyed, w.reset = true, reset
	}
	return nil
}

// unified plans the raw cgroup2 files of linux.resources.unified. They come last, so that they win over what was derived.
func (p *planner) unified(r *specs.LinuxResources) error {
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		field := fmt.Sprintf("unified[%.100s]", file)
		controller, rest, _ := strings.Cut(file, ".")
		if rest == "" || controller == "cgroup" || !validName(file) {
			return invalid(field, "%.100q is not the name of a controller's file", file)
		}
		if v2, ok := p.v2(controller); !ok || !v2 {
			return unable(field, "no %s controller on a cgroup2 mount here", controller)
		}
		if len(r.Unified[file]) > maxUnified || strings.ContainsRune(r.Unified[file], 0) {
			return invalid(field, "the value is longer than %d bytes or has a NUL in it", maxUnified)
		}
		p.unifiedFile(field, controller, file, r.Unified[file])
	}
	return nil
}

// maxUnified bounds a value; the kernel takes at most a page.
const maxUnified = 4096

// unifiedFile plans one file: whole, or if it is a table, line by line, as the kernel takes one at a time.
func (p *planner) unifiedFile(field, controller, file, value string) {
	if !slices.Contains([]string{"io", "rdma", "misc", "dmem"}, controller) {
		p.add(field, controller, file, value)
		return
	}
	for line := range strings.Lines(value) {
		if line = strings.TrimSpace(line); line != "" {
			w := p.add(field, controller, file, line)
			w.keyed, w.reset = true, resetLine(line)
		}
	}
}

// resetLine spells the default of a table's line: "8:0 rbps=5" → "8:0 rbps=max", "8:0 target=9" → "8:0 target=0".
func resetLine(line string) string {
	fields := strings.Fields(line)
	for i, f := range fields {
		switch key, _, pair := strings.Cut(f, "="); {
		case i == 0:
		case !pair:
			fields[i] = "default"
		case key == "target":
			fields[i] = key + "=0"
		default:
			fields[i] = key + "=max"
		}
	}
	return strings.Join(fields, " ")
}
