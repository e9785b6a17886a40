package pod

import (
	"errors"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestCgroupNames(t *testing.T) {
	fs, err := newCgroupNames("/berth", false)
	if err != nil {
		t.Fatal(err)
	}
	sd, err := newCgroupNames("node-berth.slice", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names       cgroupNames
		parent, pod string
		own         bool
		container   string
		kind        error
	}{
		{names: fs, pod: "/berth/p", own: true, container: "/berth/p/c"},
		{names: fs, parent: "/kubepods/podx", pod: "/kubepods/podx", container: "/kubepods/podx/c"},
		{names: fs, parent: "kubepods-podx.slice", kind: errdefs.ErrNotSupported},
		{names: fs, parent: "/a/../b", kind: errdefs.ErrInvalid},
		{names: sd, pod: "/node.slice/node-berth.slice/node-berth-p.slice", own: true, container: "/node.slice/node-berth.slice/node-berth-p.slice/berth-c.scope"},
		{names: sd, parent: "kubepods-podx.slice", pod: "/kubepods.slice/kubepods-podx.slice", container: "/kubepods.slice/kubepods-podx.slice/berth-c.scope"},
		{names: sd, parent: "/kubepods.slice/kubepods-podx.slice", pod: "/kubepods.slice/kubepods-podx.slice", container: "/kubepods.slice/kubepods-podx.slice/berth-c.scope"},
		{names: sd, parent: "/elsewhere/kubepods-podx.slice", kind: errdefs.ErrInvalid},
		{names: sd, parent: "/kubepods/podx", kind: errdefs.ErrNotSupported},
		{names: sd, parent: "kubepods--podx.slice", kind: errdefs.ErrNotSupported},
	} {
		pod, own, err := c.names.pod("p", c.parent)
		if !errors.Is(err, c.kind) || (c.kind == nil && err != nil) {
			t.Errorf("pod below %q: %v, want %v", c.parent, err, c.kind)
			continue
		}
		if err == nil && (pod != c.pod || own != c.own || c.names.container(pod, "c") != c.container) {
			t.Errorf("pod below %q: %s (own: %t), container %s", c.parent, pod, own, c.names.container(pod, "c"))
		}
	}
	if id := sd.podOf("node-berth-p.slice"); id != "p" {
		t.Errorf("the slice is of the pod %q", id)
	}
	if _, err := newCgroupNames("/berth", true); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("a path as root of slices: %v", err)
	}
}
