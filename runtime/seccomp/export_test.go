package seccomp

import (
	"maps"
	"slices"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
)

var readOnce = sync.OnceValue(readTable)

// Number returns the number of a call on an ABI.
func Number(name string, arch specs.Arch) (uint32, bool) {
	for _, goarch := range []string{"amd64", "arm64"} {
		m := machineOf(goarch)
		for i := range m {
			if m[i].name == arch {
				return readOnce().number(name, &m[i])
			}
		}
	}
	return 0, false
}

// Names returns all names of calls.
func Names() []string { return slices.Sorted(maps.Keys(readOnce().numbers)) }
