package seccomp_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/runtime/seccomp"
)

// BenchmarkCompile compiles RuntimeDefault, and finds it again.
func BenchmarkCompile(b *testing.B) {
	data, err := os.ReadFile("../../cri-server/spec/testdata/seccomp-default.json")
	if err != nil {
		b.Fatal(err)
	}
	var p specs.LinuxSeccomp
	if err := json.Unmarshal(data, &p); err != nil {
		b.Fatal(err)
	}
	b.Run("new", func(b *testing.B) {
		c := seccomp.NewCompiler()
		var nth uint
		for b.Loop() {
			other := p
			other.DefaultErrnoRet, nth = new(nth%4000), nth+1
			if _, err := c.Compile(&other); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cached", func(b *testing.B) {
		c := seccomp.NewCompiler()
		for b.Loop() {
			equal := p
			if _, err := c.Compile(&equal); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("table", func(b *testing.B) {
		for b.Loop() {
			seccomp.NewCompiler()
		}
	})
}
