package spec_test

import (
	"errors"
	"testing"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestAppArmorProfile(t *testing.T) {
	on, noParser := spec.AppArmor{Profile: "def", ByDefault: true}, spec.AppArmor{Profile: "def"}
	local := func(ref string) *spec.SecurityProfile {
		return &spec.SecurityProfile{Type: spec.ProfileLocalhost, Ref: ref}
	}
	for name, c := range map[string]struct {
		host       spec.AppArmor
		asked      *spec.SecurityProfile
		privileged bool
		expect     string
		kind       error
	}{
		"nothing asked":            {on, nil, false, "def", nil},
		"nothing asked, no parser": {noParser, nil, false, "", nil},
		"nothing asked, off":       {spec.AppArmor{}, nil, false, "", nil},
		"default":                  {on, &spec.SecurityProfile{}, false, "def", nil},
		"default, no parser":       {noParser, &spec.SecurityProfile{}, false, "def", nil}, // loading it will tell
		"default, off":             {spec.AppArmor{}, &spec.SecurityProfile{}, false, "", errdefs.ErrNotSupported},
		"unconfined":               {on, &spec.SecurityProfile{Type: spec.ProfileUnconfined}, false, "", nil},
		"unconfined, off":          {spec.AppArmor{}, &spec.SecurityProfile{Type: spec.ProfileUnconfined}, false, "", nil},
		"local":                    {on, local("mine"), false, "mine", nil},
		"local with prefix":        {on, local("localhost/mine"), false, "mine", nil},
		"local, off":               {spec.AppArmor{}, local("mine"), false, "", errdefs.ErrNotSupported},
		"privileged":               {on, local("mine"), true, "", nil},
		"privileged, off":          {spec.AppArmor{}, local("mine"), true, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			in := plain()
			in.Host.AppArmor = c.host
			in.Container.Security.AppArmor, in.Container.Security.Privileged = c.asked, c.privileged
			s, err := spec.Build(in)
			if !errors.Is(err, c.kind) {
				t.Fatalf("error %v, want %v", err, c.kind)
			}
			if err == nil && s.Process.ApparmorProfile != c.expect {
				t.Errorf("profile %q, want %q", s.Process.ApparmorProfile, c.expect)
			}
		})
	}
}
