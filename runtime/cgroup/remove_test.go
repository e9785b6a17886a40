package cgroup

import (
	"errors"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// TestRemoveEmpty: what has processes or children stays, and can be removed by the others' way then.
func TestRemoveEmpty(t *testing.T) {
	h, base := testHost(t)
	try := func(what string, g *Group, want bool) {
		t.Helper()
		done, err := g.RemoveEmpty()
		must(t, err)
		_, openErr := h.Open(g.Path())
		if done != want || errors.Is(openErr, errdefs.ErrNotFound) != want {
			t.Errorf("%s: removed: %t, then %v", what, done, openErr)
		}
	}
	g, err := h.Create(t.Context(), base+"/busy", nil)
	must(t, err)
	_ = start(t, g, "sleep 1000; true")
	try("with a process", g, false)
	must(t, g.Kill(t.Context()))
	must(t, g.Remove(t.Context()))
	try("removed", g, true)
	parent, err := h.Create(t.Context(), base+"/parent", nil)
	must(t, err)
	child, err := h.Create(t.Context(), base+"/parent/child", nil)
	must(t, err)
	try("with a child", parent, false)
	try("empty child", child, true)
	must(t, parent.Remove(t.Context()))
}
