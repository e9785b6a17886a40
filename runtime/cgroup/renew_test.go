package cgroup

import (
	"errors"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Renew trusts no limit of a group that was left behind, and takes none from processes that live.
func TestRenew(t *testing.T) {
	h, base := testHost(t)
	requireControllers(t, h, "pids")
	limit := func(n int64) *specs.LinuxResources { return &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &n}} }
	if _, err := h.Create(t.Context(), base+"/ctr", limit(10)); err != nil {
		t.Fatal(err)
	}
	g, err := h.Renew(t.Context(), base+"/ctr", &specs.LinuxResources{})
	must(t, err)
	if got := read(t, g, "pids", "pids.max"); got != "max" {
		t.Errorf("pids.max is %q", got)
	}
	_ = start(t, g, "sleep 1000; true")
	if _, err := h.Renew(t.Context(), base+"/ctr", limit(10)); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("Renew of a group with a process: %v", err)
	}
	if got := read(t, g, "pids", "pids.max"); got != "max" {
		t.Errorf("pids.max of a group with a process is %q", got)
	}
	must(t, g.Kill(t.Context()))
	must(t, g.Remove(t.Context()))
}
