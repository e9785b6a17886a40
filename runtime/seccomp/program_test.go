package seccomp

import (
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
	// Three for the architecture and the number, a comparison for each change of the verdict, and the verdicts.
	if n := length(); n > 30 {
		t.Errorf("eight calls take %d instructions", n)
	}
	before := length()
	for value := range uint64(20) {
		p.Syscalls = append(p.Syscalls, allow("socket", specs.LinuxSeccompArg{Index: 0, Value: value, Op: specs.OpEqualTo}))
	}
	if n := length() - before; n > 30 {
		t.Errorf("twenty values of an argument take %d instructions more", n)
	}
}
