package plugin

import (
	"math"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// CheckRoute refuses numbers that a route of Linux has no room for (ErrInvalid).
func CheckRoute(r *types.Route) error {
	table, scope := 0, 0
	if r.Table != nil {
		table = *r.Table
	}
	if r.Scope != nil {
		scope = *r.Scope
	}
	for _, n := range []struct {
		key        string
		value, max int
	}{
		{"mtu", r.MTU, math.MaxUint32},
		{"advmss", r.AdvMSS, math.MaxUint32},
		{"priority", r.Priority, math.MaxUint32},
		{"table", table, math.MaxUint32},
		{"scope", scope, math.MaxUint8},
	} {
		if n.value < 0 || n.value > n.max {
			return errdefs.Invalid("%s %d of the route to %s is not between 0 and %d", n.key, n.value, &r.Dst, n.max)
		}
	}
	return nil
}
