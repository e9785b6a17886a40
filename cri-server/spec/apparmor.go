package spec

import (
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// AppArmor is what this machine offers of AppArmor. The zero value is a kernel without it.
type AppArmor struct {
	Profile   string // name of the profile that RuntimeDefault stands for; empty: AppArmor is off
	ByDefault bool   // the profile can be loaded, so containers that ask for nothing get it
}

// localhostPrefix may stand before the name of a profile, in the new field as in the deprecated one.
const localhostPrefix = "localhost/"

// apparmor returns the profile that a container runs under, "" for none. Who says nothing gets the default one where there
// is one, as Kubernetes' documentation promises; who asks for one never runs without it.
func apparmor(s ContainerSecurity, h AppArmor) (string, error) {
	p := s.AppArmor
	switch {
	case s.Privileged: // CRI: no profile confines it
		return "", nil
	case p == nil && h.ByDefault:
		return h.Profile, nil
	case p == nil || p.Type == ProfileUnconfined:
		return "", nil
	case h.Profile == "":
		return "", errdefs.NotSupported("AppArmor profile %s: AppArmor is not enabled on this machine; ask for Unconfined", profileName(p))
	case p.Type == ProfileRuntimeDefault:
		return h.Profile, nil
	}
	return strings.TrimPrefix(p.Ref, localhostPrefix), nil
}
