package seccomp

import (
	"fmt"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// What a filter may return (linux/seccomp.h, Linux 5.0). The lower half is data for errno and trace.
const (
	retKillThread  = 0x00000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retNotify      = 0x7fc00000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000
	retKillProcess = 0x80000000

	retENOSYS = retErrno | uint32(syscall.ENOSYS)

	maxErrno     = 4095 // MAX_ERRNO: the kernel would return that instead of a greater one
	maxTraceData = 0xffff
)

// action returns what a filter returns for an action; field is what an error names.
func action(field string, a specs.LinuxSeccompAction, errnoField string, errno *uint) (uint32, error) {
	ret, most := uint32(0), uint(0)
	switch a {
	case specs.ActKill, specs.ActKillThread:
		ret = retKillThread
	case specs.ActKillProcess:
		ret = retKillProcess
	case specs.ActTrap:
		ret = retTrap
	case specs.ActErrno:
		ret, most = retErrno, maxErrno
	case specs.ActTrace:
		ret, most = retTrace, maxTraceData
	case specs.ActAllow:
		ret = retAllow
	case specs.ActLog:
		ret = retLog
	case specs.ActNotify:
		ret = retNotify
	case "":
		return 0, errdefs.Invalid("%s: missing", field)
	default:
		return 0, errdefs.Invalid("%s: unknown action %q", field, a)
	}
	switch {
	case errno == nil && most > 0:
		return ret | uint32(syscall.EPERM), nil
	case errno == nil:
		return ret, nil
	case most == 0:
		return 0, errdefs.Invalid("%s: %s takes none", errnoField, a)
	case *errno > most:
		return 0, errdefs.Invalid("%s: %d is greater than %d", errnoField, *errno, most)
	}
	return ret | uint32(*errno), nil
}

// passes tells whether a default action lets calls happen, or leaves them to a tracer who knows better.
func passes(ret uint32) bool {
	switch ret & 0xffff0000 {
	case retAllow, retLog, retTrace:
		return true
	}
	return false
}

// setFlags of seccomp(2).
const (
	flagTsync        = 1 << 0
	flagLog          = 1 << 1
	flagSpecAllow    = 1 << 2
	flagNewListener  = 1 << 3
	flagTsyncESRCH   = 1 << 4
	flagWaitKillable = 1 << 5
)

// flags reads a profile's flags. None given, not even an empty list, means SPEC_ALLOW: processes of containers run as fast
// as others unless somebody asks for the mitigation.
func flags(p *specs.LinuxSeccomp, notifies bool) (uint32, error) {
	if p.Flags == nil {
		p = &specs.LinuxSeccomp{Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagSpecAllow}}
	}
	var set uint32
	for i, f := range p.Flags {
		field := fmt.Sprintf("linux.seccomp.flags[%d]", i)
		switch f {
		case "SECCOMP_FILTER_FLAG_TSYNC":
			set |= flagTsync
		case specs.LinuxSeccompFlagLog:
			set |= flagLog
		case specs.LinuxSeccompFlagSpecAllow:
			set |= flagSpecAllow
		case specs.LinuxSeccompFlagWaitKillableRecv:
			if !notifies {
				return 0, errdefs.Invalid("%s: %s without a rule that notifies", field, f)
			}
			set |= flagWaitKillable
		default:
			return 0, errdefs.Invalid("%s: unknown flag %q", field, f)
		}
	}
	if notifies {
		set |= flagNewListener
		if set&flagTsync != 0 {
			set |= flagTsyncESRCH // only with it may both be asked for (Linux 5.7)
		}
	}
	return set, nil
}
