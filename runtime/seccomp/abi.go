package seccomp

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// abi is one way in which programs call the kernel.
type abi struct {
	name   specs.Arch
	audit  uint32 // AUDIT_ARCH_* of linux/audit.h, which x32 shares with x86-64
	column int    // of the table of numbers
	wide   bool   // arguments are compared in 64 bits
	muxed  bool   // has socketcall(2) and ipc(2)
	first  uint32 // its range of numbers
	last   uint32

	// private is where numbers begin that the architecture keeps for itself, without regard to age; 0: it does not.
	private uint32
}

// machine is a kind of machine with its ABIs, the native one first.
type machine []abi

const (
	x32Bit = 0x40000000
	noCall = 1<<32 - 1 // what a tracer sets to skip a call
)

// machineOf returns the machine that GOARCH stands for, or nil.
func machineOf(goarch string) machine {
	switch goarch {
	case "amd64":
		return machine{
			{name: specs.ArchX86_64, audit: 0xc000003e, column: 0, wide: true, first: 0, last: x32Bit - 1},
			{name: specs.ArchX86, audit: 0x40000003, column: 1, muxed: true, first: 0, last: noCall},
			{name: specs.ArchX32, audit: 0xc000003e, column: 2, first: x32Bit, last: noCall},
		}
	case "arm64":
		return machine{
			{name: specs.ArchAARCH64, audit: 0xc00000b7, column: 3, wide: true, first: 0, last: noCall},
			{name: specs.ArchARM, audit: 0x40000028, column: 4, first: 0, last: noCall, private: 0x0f0000},
		}
	default:
		return nil
	}
}

// with returns the ABIs that a profile is for. The native one always is.
func (m machine) with(archs []specs.Arch) []abi {
	var list []abi
	for i, a := range m {
		if i == 0 || slices.Contains(archs, a.name) {
			list = append(list, a)
		}
	}
	return list
}

// Archs lists the names that the runtime spec has. Calls from machines other than this one can't come.
func Archs() []specs.Arch {
	return []specs.Arch{
		specs.ArchAARCH64, specs.ArchARM, specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchMIPS, specs.ArchMIPS64,
		specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPARISC, specs.ArchPARISC64,
		specs.ArchPPC, specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchRISCV64, specs.ArchS390, specs.ArchS390X, specs.ArchSH,
		specs.ArchSHEB, specs.ArchX32, specs.ArchX86, specs.ArchX86_64,
	}
}

func knownArch(a specs.Arch) bool { return slices.Contains(Archs(), a) }

// multiplexed are the parts of socketcall(2) (linux/net.h) and ipc(2) (linux/ipc.h).
func multiplexed() map[string]part {
	parts := make(map[string]part)
	for i, name := range []string{
		"socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv", "sendto",
		"recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg",
	} {
		parts[name] = part{"socketcall", uint64(i + 1)}
	}
	for name, n := range map[string]uint64{
		"semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11, "msgrcv": 12, "msgget": 13, "msgctl": 14,
		"shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24,
	} {
		parts[name] = part{"ipc", n}
	}
	return parts
}

// part says that a call is number n of another.
type part struct {
	of string
	n  uint64
}
