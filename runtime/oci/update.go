package oci

import (
	"context"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/plan"
)

// Update changes limits of the container's control group; nil fields stay. With rdt, which may be nil, its schemata are written
// to the container's class of service ([resctrl.Group.Update]). It is all or nothing.
func (r *Runtime) Update(ctx context.Context, id string, res *specs.LinuxResources, rdt *specs.LinuxIntelRdt) error {
	share, err := plan.NewIntelRdt(rdt)
	if err != nil {
		return err
	}
	return r.change(id, func(c *container, s Status, g *cgroup.Group) (err error) {
		if s == StatusStopped {
			return errdefs.FailedPrecondition("container not running")
		}
		r.warn(ctx, id, cgroup.Ignored(res))
		cu := cleanup.Make(&err)
		defer cu.Clean()
		if share != nil {
			undo, err := r.updateShare(c, share.Schemata)
			if err != nil {
				return fmt.Errorf("linux.intelRdt: %w", err)
			}
			cu.Add(undo)
		}
		if err := g.Update(ctx, res); err != nil {
			return err
		}
		cu.Release()
		return nil
	})
}

func (r *Runtime) updateShare(c *container, schemata []string) (undo func() error, err error) {
	spec, err := c.spec()
	if err != nil {
		return nil, err
	}
	g, err := r.share(c.rec.ID, spec)
	if err != nil {
		return nil, err
	}
	return g.Update(schemata)
}
