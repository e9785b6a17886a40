package systemd_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/systemd"
	"github.com/berth-runtime/berth/test/fakesystemd"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func TestParsePath(t *testing.T) {
	for in, want := range map[string]string{
		"kubepods-burstable-pod1.slice:berth:abc": "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/berth-abc.scope",
		":libpod:abc":         "/system.slice/libpod-abc.scope",
		"-.slice:a:b":         "/a-b.scope",
		"machine.slice::abc":  "/machine.slice/abc.scope",
		"machine.slice:a:b-c": "/machine.slice/a-b-c.scope",
		"a--b.slice:x:y":      "",
		"-a.slice:x:y":        "",
		"a.slice:x":           "",
		"a.slice:x:y:z":       "",
		"a.slice:x:y.slice":   "",
		"a.slice:x:":          "",
		"a.slice:../x:y":      "",
		"../a.slice:x:y":      "",
		"a.scope:x:y":         "",
		".slice:x:y":          "",
		"a.slice:x:y z":       "",
		"a.slice:" + strings.Repeat("x", 300) + ":y": "",
	} {
		u, err := systemd.ParsePath(in)
		if want == "" {
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("%q is %+v, %v", in, u, err)
			}
			continue
		}
		if err != nil || u.Path() != want {
			t.Errorf("%q is %s, %v; want %s", in, u.Path(), err, want)
			continue
		}
		if back, ok := systemd.UnitOf(want); !ok || back != u {
			t.Errorf("%s is the unit %+v, want %+v", want, back, u)
		}
	}
	for _, path := range []string{"/a/b.scope", "/a.slice/c.slice/x.scope", "/a.slice", "/", "", "/a.slice/x"} {
		if u, ok := systemd.UnitOf(path); ok {
			t.Errorf("%q is the unit %+v", path, u)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("kubepods-burstable-pod1.slice:berth:abc")
	f.Add("::x")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := systemd.ParsePath(s)
		if err != nil {
			return
		}
		path := u.Path()
		if path[0] != '/' || strings.Contains(path, "/../") || strings.Contains(path, "//") || strings.ContainsAny(path, " \n\x00") {
			t.Fatalf("%q is %q", s, path)
		}
		if back, ok := systemd.UnitOf(path); !ok || back != u {
			t.Fatalf("%q: %+v is not %+v", s, back, u)
		}
	})
}

func TestScopeLife(t *testing.T) {
	s := fakesystemd.Start(t)
	c, ctx := systemd.At(s.Socket), t.Context()
	u := systemd.Unit{Slice: "a-b.slice", Name: "berth-1.scope"}
	props := []systemd.Property{{Name: "MemoryMax", Value: uint64(5)}, {Name: "New", Value: "x", Since: 253}}
	testutil.Must(t, c.StartScope(ctx, u, "a container", 42, props))
	got := s.Unit(u.Name)
	if pids, _ := got["PIDs"].([]uint32); !slices.Equal(pids, []uint32{42}) || got["Slice"] != "a-b.slice" || got["Delegate"] != true || got["MemoryMax"] != uint64(5) {
		t.Errorf("the unit has %v", got)
	}
	if _, ok := got["New"]; ok {
		t.Error("a property was sent that this systemd does not know")
	}
	if err := c.StartScope(ctx, u, "again", 43, nil); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("a second start = %v, want ErrExists", err)
	}
	testutil.Must(t, c.SetProperties(ctx, u.Name, []systemd.Property{{Name: "MemoryMax", Value: uint64(7)}}))
	if got := s.Unit(u.Name)["MemoryMax"]; got != uint64(7) {
		t.Errorf("MemoryMax = %v", got)
	}
	testutil.Must(t, c.StopUnit(ctx, u.Name))
	testutil.Must(t, c.StopUnit(ctx, u.Name))
	if s.Unit(u.Name) != nil {
		t.Error("the unit is still there")
	}
	if err := c.SetProperties(ctx, u.Name, props); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("properties of no unit = %v, want ErrNotFound", err)
	}
	if err := c.StartScope(ctx, u, "", 0, []systemd.Property{{Name: "PIDs", Value: []uint32{}}}); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("a refused start = %v, want ErrInvalid", err)
	}
}

func TestJobThatFails(t *testing.T) {
	s := fakesystemd.Start(t)
	s.Result = "failed"
	err := systemd.At(s.Socket).StartScope(t.Context(), systemd.Unit{Slice: "a.slice", Name: "x.scope"}, "", 42, nil)
	if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "x.scope") {
		t.Errorf("StartScope = %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	err := systemd.At(t.TempDir()+"/none").StopUnit(t.Context(), "x.scope")
	if !errors.Is(err, errdefs.ErrUnavailable) {
		t.Errorf("StopUnit = %v, want ErrUnavailable", err)
	}
	s := fakesystemd.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := systemd.At(s.Socket).StopUnit(ctx, "x.scope"); err == nil {
		t.Error("a cancelled call succeeded")
	}
}
