package seccomp_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/runtime/seccomp"
)

// meaning is what a profile says of a call, read off the profile itself. It knows nothing of socketcall and ipc.
func meaning(p *specs.LinuxSeccomp, arch specs.Arch, c *call) uint32 {
	def := action(p.DefaultAction, p.DefaultErrnoRet)
	wide := arch == specs.ArchX86_64 || arch == specs.ArchAARCH64
	var first *uint32
	for _, entry := range p.Syscalls {
		act := action(entry.Action, entry.ErrnoRet)
		nr := func(name string) bool { n, ok := seccomp.Number(name, arch); return ok && n == c.nr }
		if act == def || !slices.ContainsFunc(entry.Names, nr) {
			continue
		}
		for _, args := range apart(entry.Args) {
			args = slices.DeleteFunc(slices.Clone(args), func(a specs.LinuxSeccompArg) bool {
				return a.Op == specs.OpMaskedEqual && (a.Value == 0 || !wide && uint32(a.Value) == 0)
			})
			if len(args) == 0 {
				return act
			}
			if first == nil && !slices.ContainsFunc(args, func(a specs.LinuxSeccompArg) bool { return !holds(a, c, wide) }) {
				first = &act
			}
		}
	}
	if first != nil {
		return *first
	}
	return def
}

func holds(a specs.LinuxSeccompArg, c *call, wide bool) bool {
	arg, value, two := c.args[a.Index], a.Value, a.ValueTwo
	if !wide {
		arg, value, two = arg&0xffffffff, value&0xffffffff, two&0xffffffff
	}
	switch a.Op {
	case specs.OpEqualTo:
		return arg == value
	case specs.OpNotEqual:
		return arg != value
	case specs.OpLessThan:
		return arg < value
	case specs.OpLessEqual:
		return arg <= value
	case specs.OpGreaterThan:
		return arg > value
	case specs.OpGreaterEqual:
		return arg >= value
	default:
		return arg&value == two&value
	}
}

// TestRandomVerdicts compares programs with the meaning of profiles, and on x86-64 with libseccomp's too. libseccomp merges
// the conditions of a call's rules into one tree that it does not leave again where a branch turns out wrong, and may lose
// a rule so; it doesn't where a call has one rule, or several for one argument by equality, which is what these are
// made of. Of some profiles for arm64 alone, libseccomp 2.5.4 makes programs that compare the audit architecture with
// the numbers of calls, so that these have only their meaning to be compared with.
func TestRandomVerdicts(t *testing.T) {
	o := newOracle(t)
	for seed := range uint64(80) {
		random := rand.New(rand.NewPCG(seed, 7))
		machine := []string{"amd64", "arm64"}[seed%2]
		p := randomProfile(random, archs[machine])
		report := func(what, difference string) {
			if difference != "" {
				data, _ := json.Marshal(p)
				t.Errorf("seed %d, %s: %s\n%s", seed, what, difference, data)
			}
		}
		_, difference := compare(t, machine, p, func(c *call, arch specs.Arch) uint32 { return meaning(p, arch, c) }, random)
		report("meaning", difference)
		if machine == "arm64" {
			continue
		}
		theirs, _, err := o.compile(machine, p)
		if err != nil {
			t.Fatal(err)
		}
		_, difference = compare(t, machine, p, interpreted(t, theirs), random)
		report("libseccomp", difference)
	}
}

func randomProfile(random *rand.Rand, all []specs.Arch) *specs.LinuxSeccomp {
	pick := func(list ...specs.LinuxSeccompAction) specs.LinuxSeccompAction { return list[random.IntN(len(list))] }
	p := &specs.LinuxSeccomp{DefaultAction: pick(specs.ActErrno, specs.ActAllow, specs.ActKillProcess), Architectures: all[:1+random.IntN(len(all))]}
	names := []string{"read", "write", "open", "ioctl", "mmap", "clone", "kill", "prctl", "lseek", "openat", "futex", "getpid", "dup", "dup3", "fcntl"}
	ops := []specs.LinuxSeccompOperator{
		specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpMaskedEqual,
	}
	values := []uint64{0, 1, 2, 8, 0xff, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1 << 63, 1<<64 - 1}
	value := func() uint64 { return values[random.IntN(len(values))] }
	for _, name := range names {
		act := pick(specs.ActAllow, specs.ActErrno, specs.ActTrap, specs.ActLog, specs.ActKill)
		if random.IntN(2) == 0 { // several values of one argument
			index := uint(random.IntN(6))
			for range 1 + random.IntN(4) {
				p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{name}, Action: act, Args: []specs.LinuxSeccompArg{
					{Index: index, Value: value(), Op: specs.OpEqualTo},
				}})
			}
			continue
		}
		entry := specs.LinuxSyscall{Names: []string{name}, Action: act}
		for _, index := range random.Perm(6)[:random.IntN(4)] {
			entry.Args = append(entry.Args, specs.LinuxSeccompArg{Index: uint(index), Value: value(), ValueTwo: value(), Op: ops[random.IntN(len(ops))]})
		}
		p.Syscalls = append(p.Syscalls, entry)
	}
	return p
}
