package systemd

import (
	"path"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Unit is a scope and the slice that it is in.
type Unit struct {
	Slice string // "kubepods-burstable.slice"
	Name  string // "berth-1234.scope"
}

// maxName is the longest name of a unit (UNIT_NAME_MAX, systemd.unit(5)).
const maxName = 255

// ParsePath reads the form of linux.cgroupsPath that OCI runtimes share for systemd, "slice:prefix:name". An empty slice is
// system.slice, and a name that ends in .slice is refused: a slice holds no processes.
func ParsePath(cgroupsPath string) (Unit, error) {
	parts := strings.Split(cgroupsPath, ":")
	if len(parts) != 3 {
		return Unit{}, errdefs.Invalid("linux.cgroupsPath: %.100q is not of the form slice:prefix:name", cgroupsPath)
	}
	u := Unit{Slice: parts[0], Name: parts[1] + "-" + parts[2] + ".scope"}
	if u.Slice == "" {
		u.Slice = "system.slice"
	}
	if parts[1] == "" {
		u.Name = parts[2] + ".scope"
	}
	if strings.HasSuffix(parts[2], ".slice") || parts[2] == "" || !validName(u.Name) {
		return Unit{}, errdefs.Invalid("linux.cgroupsPath: %.100q does not name a scope", cgroupsPath)
	}
	if _, err := ExpandSlice(u.Slice); err != nil {
		return Unit{}, err
	}
	return u, nil
}

// UnitOf is the reverse of [Unit.Path]. ok is false for a path that is not a scope's.
func UnitOf(cgroup string) (_ Unit, ok bool) {
	u := Unit{Slice: path.Base(path.Dir(cgroup)), Name: path.Base(cgroup)}
	if u.Slice == "/" {
		u.Slice = "-.slice"
	}
	if !strings.HasSuffix(u.Name, ".scope") || !validName(u.Name) {
		return Unit{}, false
	}
	above, err := ExpandSlice(u.Slice)
	return u, err == nil && path.Join(above, u.Name) == cgroup
}

// SliceOf returns the name of the slice whose control group it is. ok is false for any other path, and for the root.
func SliceOf(cgroup string) (name string, ok bool) {
	name = path.Base(cgroup)
	at, err := ExpandSlice(name)
	return name, err == nil && at == cgroup && at != "/"
}

// Path returns the unit's control group: "/kubepods.slice/kubepods-burstable.slice/berth-1234.scope".
func (u Unit) Path() string {
	above, err := ExpandSlice(u.Slice)
	if err != nil { // not for a Unit that was parsed
		above = "/"
	}
	return path.Join(above, u.Name)
}

// ExpandSlice returns the control group of a slice: each dash in its name is one slice above it (systemd.slice(5)).
func ExpandSlice(name string) (string, error) {
	stem, ok := strings.CutSuffix(name, ".slice")
	if !ok || !validName(name) || stem == "" {
		return "", errdefs.Invalid("%.100q is not the name of a slice", name)
	}
	if stem == "-" {
		return "/", nil
	}
	at := "/"
	for i, part := range strings.Split(stem, "-") {
		if part == "" {
			return "", errdefs.Invalid("%.100q is not the name of a slice: it has an empty part", name)
		}
		end := len(strings.Join(strings.SplitN(stem, "-", i+2)[:i+1], "-"))
		at = path.Join(at, stem[:end]+".slice")
	}
	return at, nil
}

// validName accepts the characters of unit names, without the escape for others.
func validName(s string) bool {
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(":-_.@", r))
	}
	return s != "" && s[0] != '.' && len(s) <= maxName && !strings.ContainsFunc(s, bad)
}
