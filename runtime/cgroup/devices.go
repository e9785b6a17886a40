package cgroup

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// access is a set of device operations, in the kernel's bits (BPF_DEVCG_ACC_* of linux/bpf.h).
type access uint32

const (
	accMknod access = 1 << iota
	accRead
	accWrite
)

const allAccess = accMknod | accRead | accWrite

func (a access) String() string {
	var s strings.Builder
	for _, bit := range [...]struct {
		a access
		s string
	}{{accRead, "r"}, {accWrite, "w"}, {accMknod, "m"}} {
		if a&bit.a != 0 {
			s.WriteString(bit.s)
		}
	}
	return s.String()
}

// deviceSet names devices: a type and numbers, where anyNumber stands for all.
type deviceSet struct {
	kind         byte // 'b' or 'c'
	major, minor int64
}

const anyNumber = -1

// holds tells whether every device of o is in s.
func (s deviceSet) holds(o deviceSet) bool {
	return s.kind == o.kind && (s.major == anyNumber || s.major == o.major) && (s.minor == anyNumber || s.minor == o.minor)
}

// meets tells whether some device is in both.
func (s deviceSet) meets(o deviceSet) bool {
	return s.kind == o.kind && (s.major == anyNumber || o.major == anyNumber || s.major == o.major) &&
		(s.minor == anyNumber || o.minor == anyNumber || s.minor == o.minor)
}

// deviceRule allows or denies operations on some devices.
type deviceRule struct {
	set   deviceSet
	a     access
	allow bool
}

// deviceRules is a list in which a later rule wins over an earlier one, for each operation by itself. Whatever no rule
// speaks of is decided by allow.
type deviceRules struct {
	allow bool
	list  []deviceRule
}

// defaultDevices are always allowed where there are rules at all (runtime-spec config-linux.md, "Default Devices"), and
// so is making any node: without the right to open it, it is only a name.
var defaultDevices = [...]struct {
	set deviceSet
	a   access
}{
	{deviceSet{'c', anyNumber, anyNumber}, accMknod},
	{deviceSet{'b', anyNumber, anyNumber}, accMknod},
	{deviceSet{'c', 1, 3}, allAccess},           // null
	{deviceSet{'c', 1, 5}, allAccess},           // zero
	{deviceSet{'c', 1, 7}, allAccess},           // full
	{deviceSet{'c', 1, 8}, allAccess},           // random
	{deviceSet{'c', 1, 9}, allAccess},           // urandom
	{deviceSet{'c', 5, 0}, allAccess},           // tty
	{deviceSet{'c', 5, 1}, allAccess},           // console
	{deviceSet{'c', 5, 2}, allAccess},           // ptmx
	{deviceSet{'c', 136, anyNumber}, allAccess}, // pts/*
}

// maxDeviceRules bounds a list. A program of as many blocks is far below the verifier's limit of a million instructions.
const maxDeviceRules = 4096

// planDevices checks the rules, in their order, and adds the default devices. Starting point is "deny all".
func planDevices(given []specs.LinuxDeviceCgroup) (*deviceRules, error) {
	if len(given) > maxDeviceRules {
		return nil, invalid("devices", "%d rules, more than %d", len(given), maxDeviceRules)
	}
	l := &deviceRules{}
	for i, r := range given {
		if err := l.add(fmt.Sprintf("devices[%d]", i), r); err != nil {
			return nil, err
		}
	}
	if l.allow && len(l.list) == 0 {
		return l, nil
	}
	for _, d := range defaultDevices {
		l.list = append(l.list, deviceRule{d.set, d.a, true})
	}
	return l, nil
}

// add appends one rule of the spec. One that speaks of everything makes those before it void.
func (l *deviceRules) add(field string, r specs.LinuxDeviceCgroup) error {
	a, ok := parseAccess(r.Access)
	if !ok {
		return invalid(field+".access", "%.16q is not made of r, w and m", r.Access)
	}
	major, ok := number(r.Major)
	if !ok {
		return invalid(field+".major", "%d is out of range", *r.Major)
	}
	minor, ok := number(r.Minor)
	if !ok {
		return invalid(field+".minor", "%d is out of range", *r.Minor)
	}
	switch r.Type {
	case "b", "c":
		l.list = append(l.list, deviceRule{deviceSet{r.Type[0], major, minor}, a, r.Allow})
	case "a", "":
		if major == anyNumber && minor == anyNumber && a == allAccess {
			l.allow, l.list = r.Allow, nil
			return nil
		}
		l.list = append(l.list, deviceRule{deviceSet{'b', major, minor}, a, r.Allow}, deviceRule{deviceSet{'c', major, minor}, a, r.Allow})
	default:
		return invalid(field+".type", "%.16q is none of a, b, c", r.Type)
	}
	return nil
}

// parseAccess reads a set of operations; left out means all.
func parseAccess(s string) (a access, ok bool) {
	for _, c := range s {
		switch c {
		case 'r':
			a |= accRead
		case 'w':
			a |= accWrite
		case 'm':
			a |= accMknod
		default:
			return 0, false
		}
	}
	if a == 0 {
		a = allAccess
	}
	return a, true
}

func number(n *int64) (_ int64, ok bool) {
	if n == nil || *n == anyNumber {
		return anyNumber, true
	}
	return *n, *n >= 0 && *n <= math.MaxUint32
}

// spell writes a set as devices.allow and devices.deny take it.
func spell(s deviceSet, a access) string {
	num := func(n int64) string {
		if n == anyNumber {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	return string(s.kind) + " " + num(s.major) + ":" + num(s.minor) + " " + a.String()
}
