package container

import (
	"cmp"
	"fmt"

	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/resctrl"
)

// makeShare gives a container its share of caches and memory bandwidth; nil if it asks for none.
func (r *Runtime) makeShare(id string, p *plan.Plan) (*resctrl.Group, error) {
	if p.IntelRdt == nil {
		return nil, nil
	}
	root := r.cfg.Resctrl
	if root == "" {
		var err error
		if root, err = resctrl.Find(); err != nil {
			return nil, fmt.Errorf("linux.intelRdt: %w", err)
		}
	}
	g, err := resctrl.At(root).Create(id, *p.IntelRdt)
	if err != nil {
		return nil, fmt.Errorf("linux.intelRdt: %w", err)
	}
	return g, nil
}

// findShare is makeShare for a container that a former Runtime made.
func (r *Runtime) findShare(old Restored) (*resctrl.Group, error) {
	if old.Spec == nil || old.Spec.Linux == nil || old.Spec.Linux.IntelRdt == nil {
		return nil, nil
	}
	found, err := resctrl.Find()
	root := cmp.Or(r.cfg.Resctrl, found)
	if root == "" {
		return nil, err
	}
	c := old.Spec.Linux.IntelRdt
	return resctrl.At(root).Group(old.ID, resctrl.Config{ClosID: c.ClosID, Monitoring: c.EnableMonitoring}), nil
}
