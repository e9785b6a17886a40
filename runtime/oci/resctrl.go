package oci

import (
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/resctrl"
)

// resctrl returns where resctrl is mounted.
func (r *Runtime) resctrl() (_ *resctrl.FS, err error) {
	root := r.cfg.Resctrl
	if root == "" {
		if root, err = resctrl.Find(); err != nil {
			return nil, fmt.Errorf("linux.intelRdt: %w", err)
		}
	}
	return resctrl.At(root), nil
}

// makeShare gives a container its share of caches and memory bandwidth; nil if it asks for none.
func (r *Runtime) makeShare(id string, p *plan.Plan) (*resctrl.Group, error) {
	if p.IntelRdt == nil {
		return nil, nil
	}
	fs, err := r.resctrl()
	if err != nil {
		return nil, err
	}
	g, err := fs.Create(id, *p.IntelRdt)
	if err != nil {
		return nil, fmt.Errorf("linux.intelRdt: %w", err)
	}
	return g, nil
}

// share returns what makeShare of an earlier call made.
func (r *Runtime) share(id string, spec *specs.Spec) (*resctrl.Group, error) {
	c := spec.Linux.IntelRdt
	if c == nil {
		return nil, nil
	}
	fs, err := r.resctrl()
	if err != nil {
		return nil, err
	}
	return fs.Group(id, resctrl.Config{ClosID: c.ClosID, Monitoring: c.EnableMonitoring}), nil
}

// removeShare removes what is the container's own. It is idempotent; without resctrl there is nothing left of it.
func (r *Runtime) removeShare(id string, spec *specs.Spec) error {
	g, err := r.share(id, spec)
	if errors.Is(err, errdefs.ErrNotSupported) {
		return nil
	}
	if err != nil {
		return err
	}
	return g.Remove()
}
