package seccomp_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/seccomp"
)

func TestMalformedProfilesNameTheField(t *testing.T) {
	entry := func(s specs.LinuxSyscall) specs.LinuxSeccomp {
		return specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActErrno}, s}}
	}
	arg := func(a specs.LinuxSeccompArg) specs.LinuxSeccomp {
		return entry(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Op: specs.OpEqualTo}, a}})
	}
	for want, p := range map[string]specs.LinuxSeccomp{
		"linux.seccomp.defaultAction: missing":                      {},
		"linux.seccomp.defaultAction: unknown action":               {DefaultAction: "SCMP_ACT_FLY"},
		"linux.seccomp.defaultAction: SCMP_ACT_NOTIFY":              {DefaultAction: specs.ActNotify, ListenerPath: "/a"},
		"linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes none":  {DefaultAction: specs.ActAllow, DefaultErrnoRet: new(uint(1))},
		"linux.seccomp.defaultErrnoRet: 4096 is greater than 4095":  {DefaultAction: specs.ActErrno, DefaultErrnoRet: new(uint(4096))},
		"linux.seccomp.architectures[1]: unknown architecture":      {DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchMIPS, "SCMP_ARCH_Z80"}},
		"linux.seccomp.flags[0]: unknown flag":                      {DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"X"}},
		"linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE": {DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv}},
		"linux.seccomp.listenerPath: missing":                       entry(specs.LinuxSyscall{Names: []string{"mkdir"}, Action: specs.ActNotify}),
		"linux.seccomp.listenerPath: \"a\" is not an absolute":      {DefaultAction: specs.ActAllow, ListenerPath: "a"},
		"linux.seccomp.listenerMetadata: given without":             {DefaultAction: specs.ActAllow, ListenerMetadata: "a"},
		"linux.seccomp.syscalls[1].action: missing":                 entry(specs.LinuxSyscall{Names: []string{"read"}}),
		"linux.seccomp.syscalls[1].action: unknown":                 entry(specs.LinuxSyscall{Names: []string{"read"}, Action: "kill"}),
		"linux.seccomp.syscalls[1].errnoRet: SCMP_ACT_KILL takes":   entry(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActKill, ErrnoRet: new(uint(0))}),
		"linux.seccomp.syscalls[1].errnoRet: 65536 is greater":      entry(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActTrace, ErrnoRet: new(uint(65536))}),
		"linux.seccomp.syscalls[1].names: none":                     entry(specs.LinuxSyscall{Action: specs.ActErrno}),
		"linux.seccomp.syscalls[1].names[1]: 0 bytes":               entry(specs.LinuxSyscall{Names: []string{"read", ""}, Action: specs.ActErrno}),
		"linux.seccomp.syscalls[1].names[0]: 200 bytes":             entry(specs.LinuxSyscall{Names: []string{strings.Repeat("a", 200)}, Action: specs.ActErrno}),
		"linux.seccomp.syscalls[1].names[0]: write can't":           entry(specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActNotify}),
		"linux.seccomp.syscalls[1].args[1].index: 6":                arg(specs.LinuxSeccompArg{Index: 6, Op: specs.OpEqualTo}),
		"linux.seccomp.syscalls[1].args[1].op: missing":             arg(specs.LinuxSeccompArg{}),
		"linux.seccomp.syscalls[1].args[1].op: unknown operator":    arg(specs.LinuxSeccompArg{Op: "=="}),
	} {
		_, err := seccomp.NewCompilerFor("amd64").Compile(&p)
		if !errors.Is(err, errdefs.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestWhereThereAreNoTables(t *testing.T) {
	if _, err := seccomp.NewCompilerFor("riscv64").Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow}); !errors.Is(err, errdefs.ErrNotSupported) {
		t.Errorf("got %v", err)
	}
	if f, err := seccomp.NewCompilerFor("riscv64").Compile(nil); f != nil || err != nil {
		t.Errorf("no profile: %v, %v", f, err)
	}
}

func TestUnknownNamesAreLeftOut(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"read", "zz", "aa", "zz", "arm_fadvise64_64", "socketcall", "accept"}, Action: specs.ActAllow},
	}}
	f, err := seccomp.NewCompilerFor("amd64").Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if want := "[seccomp rules for unknown system calls, left out: aa zz]"; fmt.Sprint(f.Warnings) != want {
		t.Errorf("warnings %v, want %s", f.Warnings, want)
	}
}

func TestFlags(t *testing.T) {
	notify := []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}}
	for _, tt := range []struct {
		flags    []specs.LinuxSeccompFlag
		syscalls []specs.LinuxSyscall
		want     uint32
	}{
		{nil, nil, 4},
		{[]specs.LinuxSeccompFlag{}, nil, 0},
		{[]specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagLog}, nil, 3},
		{nil, notify, 12},
		{[]specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagWaitKillableRecv}, notify, 1 | 8 | 16 | 32},
	} {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: tt.flags, Syscalls: tt.syscalls, ListenerPath: "/agent"}
		f, err := seccomp.NewCompiler().Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		if f.Flags != tt.want || f.Listener != (tt.syscalls != nil) {
			t.Errorf("%v: flags %d, listener %v, want %d", tt.flags, f.Flags, f.Listener, tt.want)
		}
	}
}

// TestLongPrograms has the far ends of a program that conditional jumps can't reach, and then one that is too long.
func TestLongPrograms(t *testing.T) {
	long := func(rules int) *specs.LinuxSeccomp {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"read", "listns"}, Action: specs.ActAllow}}}
		for i := range rules {
			for _, name := range []string{"clone", "ioctl", "prctl", "uname", "statx"} {
				p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{
					Names: []string{name}, Action: specs.ActAllow,
					Args: []specs.LinuxSeccompArg{{Index: 3, Value: uint64(i) << 20, Op: specs.OpGreaterThan}, {Index: 4, Value: uint64(i), Op: specs.OpEqualTo}},
				})
			}
		}
		return p
	}
	p := long(80)
	f, err := seccomp.NewCompilerFor("amd64").Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if n := f.Instructions(); n < 3000 {
		t.Errorf("%d instructions test no far jumps", n)
	}
	for _, name := range []string{"read", "listns", "clone", "ioctl", "prctl", "uname", "statx", "getpid", "bpf"} {
		nr, _ := seccomp.Number(name, specs.ArchX86_64)
		for _, args := range [][6]uint64{{}, {3: 1 << 40, 4: 79}, {3: 1 << 40, 4: 80}, {3: 70 << 20, 4: 70}, {3: 70<<20 + 1, 4: 70}} {
			c := &call{nr: nr, arch: 0xc000003e, args: args}
			got, err := run(f.Program, c)
			if want := meaning(p, specs.ArchX86_64, c); err != nil || got != want {
				t.Errorf("%s %v: %#x, %v; want %#x", name, args, got, err, want)
			}
		}
	}
	if _, err := seccomp.NewCompilerFor("amd64").Compile(long(200)); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "the kernel takes 4096") {
		t.Errorf("too long: %v", err)
	}
}

func TestFiltersAreKept(t *testing.T) {
	c := seccomp.NewCompiler()
	profile := func(i uint) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: new(i)}
	}
	compile := func(i uint) *seccomp.Filter {
		f, err := c.Compile(profile(i))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := compile(0)
	if compile(0) != first {
		t.Error("the same profile was compiled twice")
	}
	for i := range uint(200) {
		if compile(i+1) == first {
			t.Errorf("profile %d got another's filter", i+1)
		}
	}
	if compile(0) == first {
		t.Error("more filters are kept than there may be")
	}
}

func TestTheSameProfileIsNotReadAgain(t *testing.T) {
	c := seccomp.NewCompiler()
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	first, err := c.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() {
		if f, err := c.Compile(p); f != first || err != nil {
			t.Error(f, err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if f, err := c.Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow}); f == first || err != nil {
		t.Errorf("another profile got the same filter, %v", err)
	}
}
