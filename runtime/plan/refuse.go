package plan

import (
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// refuse rejects what berth does not do: a field that is ignored could be the one that keeps a container in.
func refuse(s *specs.Spec) error {
	switch {
	case s == nil:
		return errdefs.Invalid("spec: missing")
	case s.Process == nil:
		return errdefs.Invalid("process: missing")
	case s.Linux == nil:
		return errdefs.Invalid("linux: missing")
	}
	l := s.Linux
	unsupported := map[string]bool{
		"solaris": s.Solaris != nil,
		"windows": s.Windows != nil,
		"vm":      s.VM != nil,
		"zos":     s.ZOS != nil,
		"freebsd": s.FreeBSD != nil,
		"linux.rootfsPropagation " + l.RootfsPropagation: propagation(l.RootfsPropagation) == 0 && l.RootfsPropagation != "",
	}
	return errOr(firstOf(unsupported), refuseProcess(s.Process))
}

// refuseProcess is the part of refuse that exec needs too.
func refuseProcess(p *specs.Process) error {
	return firstOf(map[string]bool{
		"process.commandLine":   p.CommandLine != "",
		"process.user.username": p.User.Username != "",
	})
}

// firstOf reports the first field, in alphabetical order, that is asked for.
func firstOf(asked map[string]bool) error {
	for _, field := range slices.Sorted(maps.Keys(asked)) {
		if asked[field] {
			return errdefs.NotSupported("%s: not supported by berth", field)
		}
	}
	return nil
}

func errOr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}
