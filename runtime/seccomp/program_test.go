package seccomp

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The kernel's time to install a filter goes by its length: verdicts are written once, and values of one argument share a load.
func TestPrograms(t *testing.T) {
	allow := func(name string, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
		return specs.LinuxSyscall{Names: []string{name}, Action: specs.ActAllow, Args: args}
	}
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86_64}}
	for _, name := range []string{"read", "open", "stat", "poll", "mmap", "munmap", "ioctl", "readv"} { // 0, 2, 4, 7, 9, 11, 16, 19
		p.Syscalls = append(p.Syscalls, allow(name))
	}
	length := func() int {
		f, err := NewCompilerFor("amd64").Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		return f.Instructions()
	}
	// Four for the architecture and the number, a comparison for each call and two for the ends of what is known, and the verdicts.
	if n := length(); n > 20 {
		t.Errorf("eight calls take %d instructions", n)
	}
	before := length()
	p.Syscalls = append(p.Syscalls, allow("socket", specs.LinuxSeccompArg{Index: 0, Value: 5, Op: specs.OpLessThan}))
	for value := range uint64(20) {
		p.Syscalls = append(p.Syscalls, allow("socket", specs.LinuxSeccompArg{Index: 0, Value: value &^ 8, Op: specs.OpEqualTo}))
	}
	if n := length() - before; n > 10 {
		t.Errorf("values 0 to 7 and 16 to 19 of an argument take %d instructions more", n)
	}
}

func TestCover(t *testing.T) {
	const last = 1<<32 - 1
	for _, tt := range []struct {
		list []interval
		want []choice
	}{
		{[]interval{{low: 5, high: 5}}, []choice{{0, 1}, {5, 0}, {6, 1}}},
		{[]interval{{low: 7, high: last}, {low: 0, high: 2}, {low: 1, high: 1}, {low: 3, high: 4}}, []choice{{0, 0}, {5, 1}, {7, 0}}},
		{[]interval{{low: last, high: last}}, []choice{{0, 1}, {last, 0}}},
		{[]interval{{low: 0, high: last}}, []choice{{0, 0}}},
	} {
		if got := cover(tt.list, 0, 1); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.list, got, tt.want)
		}
	}
}

// The longest program of rules that are written as one can be jumped through, and gives each value its verdict.
func TestManyValues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var rules []rule
		in := make(map[uint32]bool)
		for range maxTogether {
			v := r.Uint32N(400)
			in[v] = true
			rules = append(rules, rule{ret: retAllow, conds: []condition{{op: specs.OpEqualTo, mask: 1<<64 - 1, value: uint64(v)}}})
		}
		if n := together(append(rules, rules...), true); n != maxTogether {
			t.Fatalf("%d rules are written as one", n)
		}
		program := append(anyOf(rules, true), ret(retTrap))
		for v := range uint32(402) {
			if got := follow(program, v); (got == retAllow) != in[v] {
				t.Fatalf("value %d: %#x", v, got)
			}
		}
	}
}

// follow runs a program that compares one argument of less than 2^32.
func follow(program []instruction, value uint32) uint32 {
	var a uint32
	for at := 0; ; at++ {
		i := program[at]
		holds := false
		switch i.code {
		case ldAbs:
			a = 0
			if i.k == offArgs {
				a = value
			}
			continue
		case retK:
			return i.k
		case jeq:
			holds = a == i.k
		case jge:
			holds = a >= i.k
		}
		if holds {
			at += int(i.jt)
		} else {
			at += int(i.jf)
		}
	}
}
