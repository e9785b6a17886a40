package plan

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/resctrl"
)

const maxSchemata = 256 // far more than there are resources

func (p *Plan) intelRdt(spec *specs.Spec, _ Facts) (err error) {
	p.IntelRdt, err = NewIntelRdt(spec.Linux.IntelRdt)
	return err
}

// NewIntelRdt reads linux.intelRdt; nil leaves resctrl alone. The order of the lines is the spec's. Errors are as those of [New].
func NewIntelRdt(r *specs.LinuxIntelRdt) (*resctrl.Config, error) {
	if r == nil {
		return nil, nil
	}
	const field = "linux.intelRdt."
	if err := resctrl.CheckClosID(r.ClosID); err != nil {
		return nil, fmt.Errorf(field+"closID: %w", err)
	}
	out := &resctrl.Config{ClosID: r.ClosID, Monitoring: r.EnableMonitoring}
	for _, s := range []struct{ name, line, prefix string }{
		{"l3CacheSchema", r.L3CacheSchema, "L3:"}, {"memBwSchema", r.MemBwSchema, "MB:"},
	} {
		if s.line == "" {
			continue
		}
		if err := resctrl.CheckSchema(s.line, s.prefix); err != nil {
			return nil, fmt.Errorf(field+"%s: %w", s.name, err)
		}
		out.Schemata = append(out.Schemata, s.line)
	}
	if len(r.Schemata) > maxSchemata {
		return nil, errdefs.Invalid(field+"schemata: %d lines, more than %d", len(r.Schemata), maxSchemata)
	}
	for i, line := range r.Schemata {
		if err := resctrl.CheckSchema(line, ""); err != nil {
			return nil, fmt.Errorf(field+"schemata[%d]: %w", i, err)
		}
	}
	out.Schemata = append(out.Schemata, r.Schemata...)
	return out, nil
}
