package daemon

import (
	"context"
	"errors"

	"github.com/berth-runtime/berth/cri-server/config"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/systemd"
)

// driver returns the host's control groups with the driver that is set.
func driver(c config.Cgroup, h *cgroup.Host) (*cgroup.Host, error) {
	if c.Driver != config.Systemd {
		return h, nil
	}
	manager, err := systemd.New()
	if err != nil {
		return nil, err
	}
	return h.UseSystemd(manager), nil
}

// groups makes the parent of the pods and the keeper's own group. systemd's service for berthd holds the keeper, too: the
// unit says KillMode=process, so that a restart of berthd is none of the keeper's.
func groups(ctx context.Context, c config.Cgroup, h *cgroup.Host) (parent, keeper *cgroup.Group, err error) {
	if c.Driver != config.Systemd {
		if parent, err = h.Ensure(ctx, c.Parent); err != nil {
			return nil, nil, err
		}
		keeper, err = h.Ensure(ctx, c.Parent+"/keeper")
		return parent, keeper, err
	}
	slice, err := systemd.ExpandSlice(c.Parent)
	if err != nil {
		return nil, nil, err
	}
	parent, err = h.Create(ctx, slice, nil)
	if errors.Is(err, errdefs.ErrExists) {
		parent, err = h.Open(slice)
	}
	return parent, nil, err
}
