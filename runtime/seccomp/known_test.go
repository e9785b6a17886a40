package seccomp

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// What is listed compiles.
func TestKnown(t *testing.T) {
	for _, act := range Actions() {
		for _, op := range Operators() {
			other := specs.ActAllow
			if act == other {
				other = specs.ActLog
			}
			p := &specs.LinuxSeccomp{DefaultAction: other, Architectures: Archs(), Syscalls: []specs.LinuxSyscall{{
				Names: []string{"close"}, Action: act, Args: []specs.LinuxSeccompArg{{Op: op}},
			}}}
			if act == specs.ActNotify {
				p.ListenerPath = "/agent"
				p.Syscalls[0].Names = []string{"swapon"}
				p.Flags = Flags()
			}
			if _, err := NewCompiler().Compile(p); err != nil {
				t.Errorf("%s, %s: %v", act, op, err)
			}
		}
	}
}
