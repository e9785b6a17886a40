package seccomp

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Bounds of a profile. Every number of every ABI with six conditions is less.
const (
	maxEntries    = 1 << 14
	maxNames      = 1 << 16
	maxConditions = 1 << 16
	maxNameBytes  = 128
	maxArgs       = 6
)

// profile is a checked profile.
type profile struct {
	def      uint32 // default action
	archs    []specs.Arch
	rules    []rule
	unknown  []string // names of no system call
	flags    uint32
	notifies bool
}

// rule is one entry of a profile for one name and conditions that must all hold.
type rule struct {
	name  string
	ret   uint32
	conds []condition
}

// check reads a profile. Errors name the field and are of kind errdefs.ErrInvalid.
func check(p *specs.LinuxSeccomp, t table) (*profile, error) {
	def, err := action("linux.seccomp.defaultAction", p.DefaultAction, "linux.seccomp.defaultErrnoRet", p.DefaultErrnoRet)
	switch {
	case err != nil:
		return nil, err
	case def == retNotify:
		return nil, errdefs.Invalid("linux.seccomp.defaultAction: %s: whoever starts the container could not start it", p.DefaultAction)
	case len(p.Syscalls) > maxEntries:
		return nil, errdefs.Invalid("linux.seccomp.syscalls: %d entries, more than %d", len(p.Syscalls), maxEntries)
	}
	out := &profile{def: def, archs: p.Architectures}
	for i, a := range p.Architectures {
		if !knownArch(a) {
			return nil, errdefs.Invalid("linux.seccomp.architectures[%d]: unknown architecture %q", i, a)
		}
	}
	names, conds := 0, 0
	for i := range p.Syscalls {
		names, conds = names+len(p.Syscalls[i].Names), conds+len(p.Syscalls[i].Args)*max(1, len(p.Syscalls[i].Names))
		if names > maxNames || conds > maxConditions {
			return nil, errdefs.Invalid("linux.seccomp.syscalls[%d]: more than %d names or %d conditions up to here", i, maxNames, maxConditions)
		}
		if err := out.entry(fmt.Sprintf("linux.seccomp.syscalls[%d]", i), &p.Syscalls[i], t); err != nil {
			return nil, err
		}
	}
	slices.Sort(out.unknown)
	out.unknown = slices.Compact(out.unknown)
	if out.flags, err = flags(p, out.notifies); err != nil {
		return nil, err
	}
	return out, out.checkListener(p)
}

func (p *profile) entry(field string, s *specs.LinuxSyscall, t table) error {
	ret, err := action(field+".action", s.Action, field+".errnoRet", s.ErrnoRet)
	if err != nil {
		return err
	}
	if len(s.Names) == 0 {
		return errdefs.Invalid("%s.names: none", field)
	}
	conds, err := conditions(field, s.Args)
	if err != nil {
		return err
	}
	p.notifies = p.notifies || ret == retNotify
	for i, name := range s.Names {
		switch {
		case name == "" || len(name) > maxNameBytes:
			return errdefs.Invalid("%s.names[%d]: %d bytes, not 1 to %d", field, i, len(name), maxNameBytes)
		case ret == retNotify && name == "write":
			// The child reports its listener by that call, and would wait for somebody who does not have it yet.
			return errdefs.Invalid("%s.names[%d]: write can't be notified of", field, i)
		case !t.knows(name):
			p.unknown = append(p.unknown, name)
			continue
		}
		for _, c := range conds {
			p.rules = append(p.rules, rule{name: name, ret: ret, conds: c})
		}
	}
	return nil
}

// conditions reads an entry's arguments into the conditions of one rule or of several.
func conditions(field string, args []specs.LinuxSeccompArg) ([][]condition, error) {
	if len(args) == 0 {
		return [][]condition{nil}, nil
	}
	var all []condition
	seen, twice := [maxArgs]bool{}, false
	for i, a := range args {
		c, err := newCondition(fmt.Sprintf("%s.args[%d]", field, i), a)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
		twice = twice || seen[c.index]
		seen[c.index] = true
	}
	if !twice {
		return [][]condition{all}, nil
	}
	var each [][]condition
	for _, c := range all {
		each = append(each, []condition{c})
	}
	return each, nil
}

// checkListener wants somebody to notify, and tells what belongs to a listener from what belongs to none.
func (p *profile) checkListener(in *specs.LinuxSeccomp) error {
	switch {
	case p.notifies && in.ListenerPath == "":
		return errdefs.Invalid("linux.seccomp.listenerPath: missing, and a rule notifies")
	case in.ListenerPath != "" && in.ListenerPath[0] != '/':
		return errdefs.Invalid("linux.seccomp.listenerPath: %q is not an absolute path", in.ListenerPath)
	case in.ListenerPath == "" && in.ListenerMetadata != "":
		return errdefs.Invalid("linux.seccomp.listenerMetadata: given without listenerPath")
	}
	return nil
}
