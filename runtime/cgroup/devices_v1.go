package cgroup

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// deviceList is what the v1 controller keeps, and needs no order: one default, and exceptions to it.
type deviceList struct {
	allow      bool // the default
	exceptions map[deviceSet]access
}

// fold turns rules into the v1 controller's form. Taking a part out of a wider exception can't be said in it.
func (l *deviceRules) fold() (*deviceList, error) {
	out := &deviceList{allow: l.allow, exceptions: map[deviceSet]access{}}
	for _, r := range l.list {
		if err := out.set(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// set applies one rule. A rule in the sense of the default takes from the exceptions, any other adds to them.
func (l *deviceList) set(r deviceRule) error {
	if r.allow != l.allow {
		l.exceptions[r.set] |= r.a
		return nil
	}
	for e, have := range l.exceptions {
		switch {
		case have&r.a == 0 || !r.set.meets(e):
		case r.set.holds(e):
			if have &^= r.a; have == 0 {
				delete(l.exceptions, e)
			} else {
				l.exceptions[e] = have
			}
		default:
			return unable("devices", "the rule %s (allow=%t) cuts a part out of the rule %s, which cgroup v1 has no words for; give the parts instead",
				spell(r.set, r.a), r.allow, spell(e, have))
		}
	}
	return nil
}

// lines spells the exceptions that are not in other, in a fixed order.
func (l *deviceList) lines(other *deviceList) (lines []string) {
	sorted := slices.SortedFunc(maps.Keys(l.exceptions), func(a, b deviceSet) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor))
	})
	for _, s := range sorted {
		if a := l.exceptions[s] &^ other.exceptions[s]; a != 0 {
			lines = append(lines, spell(s, a))
		}
	}
	return lines
}

// install puts the list in force for a group. If not whole, the group's present list is before, and only what differs is
// written: what stays is allowed all the time, and what is granted comes before what is taken.
func (l *deviceList) install(group *sys.Dir, before *deviceList, whole bool) error {
	give, take, all := "devices.allow", "devices.deny", "devices.deny"
	if l.allow {
		give, take, all = take, give, give
	}
	if whole {
		before = &deviceList{}
		if err := group.WriteFile(all, "a"); err != nil {
			return deviceError(all, []string{"a"}, err)
		}
	}
	for _, w := range []struct {
		file  string
		lines []string
	}{{give, l.lines(before)}, {take, before.lines(l)}} {
		if len(w.lines) == 0 {
			continue
		}
		if err := group.WriteLines(w.file, w.lines); err != nil {
			return deviceError(w.file, w.lines, err)
		}
	}
	return nil
}

func deviceError(file string, lines []string, err error) error {
	return errdefs.New(errdefs.ErrPermission, "linux.resources.devices: set %s to %q: the parent group may deny it: %w", file, lines, err)
}

// parseDeviceList reads devices.list (Documentation/admin-guide/cgroup-v1/devices.rst): "a *:* rwm", or one allowed set a
// line.
func parseDeviceList(data []byte) (*deviceList, error) {
	l := &deviceList{exceptions: map[deviceSet]access{}}
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return nil, errdefs.Invalid("parse devices.list: line %.100q", line)
		}
		major, minor, _ := strings.Cut(fields[1], ":")
		a, ok := parseAccess(fields[2])
		set := deviceSet{fields[0][0], parseNumberOrAny(major), parseNumberOrAny(minor)}
		switch {
		case !ok || len(fields[0]) != 1 || set.major < anyNumber || set.minor < anyNumber:
			return nil, errdefs.Invalid("parse devices.list: line %.100q", line)
		case fields[0] == "a":
			l.allow = true
		case fields[0] == "b" || fields[0] == "c":
			l.exceptions[set] |= a
		default:
			return nil, errdefs.Invalid("parse devices.list: line %.100q", line)
		}
	}
	return l, nil
}

// parseNumberOrAny returns less than anyNumber for what is neither.
func parseNumberOrAny(s string) int64 {
	if s == "*" {
		return anyNumber
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return anyNumber - 1
	}
	return int64(n)
}
