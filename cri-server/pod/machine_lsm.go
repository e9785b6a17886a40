package pod

import (
	"context"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/lsm"
)

// confinement finds out which security modules there are.
func confinement(h *spec.Host) error {
	have, err := lsm.Detect()
	if err != nil {
		return err
	}
	h.SELinux = have.SELinux
	if have.AppArmor {
		h.AppArmor = spec.AppArmor{Profile: lsm.DefaultProfile, ByDefault: lsm.CanLoad()}
	}
	return nil
}

// Relabel labels the files of a container.
func (linux) Relabel(ctx context.Context, path, label string) error {
	return lsm.Relabel(ctx, path, label)
}

// Confine makes sure that a container can be put under an AppArmor profile: berth's own is loaded when it is missing,
// another one must be there. Without this the container would fail at its start, and say less about the reason.
func (linux) Confine(ctx context.Context, profile string) error {
	switch profile {
	case "":
		return nil
	case lsm.DefaultProfile:
		return lsm.EnsureDefault(ctx)
	}
	ok, err := lsm.Loaded(profile)
	if err == nil && !ok {
		err = errdefs.FailedPrecondition("AppArmor profile %q is not loaded on this machine (see aa-status)", profile)
	}
	return err
}
