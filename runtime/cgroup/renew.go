package cgroup

import (
	"context"
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Renew is Create, but a group that is there and has no process in it is removed first: it was left by somebody who was killed,
// and its limits are not trusted. One with processes stays as it is, and is errdefs.ErrExists.
func (h *Host) Renew(ctx context.Context, path string, r *specs.LinuxResources) (*Group, error) {
	g, err := h.Create(ctx, path, r)
	if !errors.Is(err, errdefs.ErrExists) {
		return g, err
	}
	old, openErr := h.Open(path)
	if openErr != nil {
		return nil, errors.Join(err, openErr)
	}
	if pids, pidErr := old.PIDs(); pidErr != nil || len(pids) > 0 {
		return nil, errors.Join(fmt.Errorf("container's cgroup is not empty: %w", err), pidErr)
	}
	if err := old.Remove(ctx); err != nil {
		return nil, err
	}
	return h.Create(ctx, path, r)
}
