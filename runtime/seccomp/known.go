package seccomp

import "github.com/opencontainers/runtime-spec/specs-go"

// Actions lists those that profiles may have.
func Actions() []specs.LinuxSeccompAction {
	return []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActErrno, specs.ActKill, specs.ActKillProcess, specs.ActKillThread, specs.ActLog, specs.ActNotify,
		specs.ActTrace, specs.ActTrap,
	}
}

// Operators lists those that profiles may have.
func Operators() []specs.LinuxSeccompOperator {
	return []specs.LinuxSeccompOperator{
		specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpLessEqual, specs.OpLessThan, specs.OpMaskedEqual,
		specs.OpNotEqual,
	}
}

// Flags lists those that profiles may have. All kernels that berth runs on have them.
func Flags() []specs.LinuxSeccompFlag {
	return []specs.LinuxSeccompFlag{
		specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, "SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagWaitKillableRecv,
	}
}
