package spec_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/testutil"
)

// Containers of one node share profiles, and get what they would get alone.
func TestProfilesAreShared(t *testing.T) {
	kept := spec.NewProfiles()
	profile := func(capabilities ...string) *specs.LinuxSeccomp {
		t.Helper()
		in := plain()
		in.Host.Profiles = kept
		in.Container.Security.Seccomp = &spec.SecurityProfile{Type: spec.ProfileRuntimeDefault}
		in.Container.Security.Capabilities = &spec.Capabilities{Drop: []string{"ALL"}, Add: capabilities}
		s, err := spec.Build(in)
		testutil.Must(t, err)
		if diff := cmp.Diff(confined(t, capabilities...), s.Linux.Seccomp); diff != "" {
			t.Errorf("%v: %s", capabilities, diff)
		}
		return s.Linux.Seccomp
	}
	first := profile("CHOWN")
	if profile("KILL", "CHOWN") != first {
		t.Error("capabilities that change nothing make another profile")
	}
	if admin := profile("SYS_ADMIN", "CHOWN"); admin == first || profile("SYS_ADMIN") != admin {
		t.Error("SYS_ADMIN has no profile of its own")
	}
}
