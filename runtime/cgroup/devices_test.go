package cgroup

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// char is a rule for a character device.
func char(allow bool, major, minor int64, access string) specs.LinuxDeviceCgroup {
	return specs.LinuxDeviceCgroup{Allow: allow, Type: "c", Major: &major, Minor: &minor, Access: access}
}

// TestDevicesUpdate replaces rules. On cgroup2 programs that are attached beside each other must all agree: what the new
// rules allow and the old ones did not works only if the old program is gone.
func TestDevicesUpdate(t *testing.T) {
	h, base := testHost(t)
	deny := specs.LinuxDeviceCgroup{Access: "rwm"}
	for _, m := range modes(t, h) {
		t.Run(string(m.mode), func(t *testing.T) {
			if m.devicesOn() == nil {
				testutil.Skip(t, "nothing guards devices here")
			}
			g, err := m.Create(t.Context(), base+"/update-"+string(m.mode), &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{deny}})
			must(t, err)
			for _, step := range []struct {
				name  string
				rules []specs.LinuxDeviceCgroup
				want  string
			}{
				{"as made", nil, "null yes, kmsg no, loop-control no"},
				{"one more", []specs.LinuxDeviceCgroup{deny, char(true, 1, 11, "r")}, "null yes, kmsg yes, loop-control no"},
				{"the other", []specs.LinuxDeviceCgroup{deny, char(true, 10, 237, "rw")}, "null yes, kmsg no, loop-control yes"},
				{"all", []specs.LinuxDeviceCgroup{deny, {Allow: true, Access: "rwm"}}, "null yes, kmsg yes, loop-control yes"},
				{"all but one", []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}, char(false, 1, 11, "rwm")}, "null yes, kmsg no, loop-control yes"},
				{"none", []specs.LinuxDeviceCgroup{deny}, "null yes, kmsg no, loop-control no"},
			} {
				if step.rules != nil {
					must(t, g.Update(t.Context(), &specs.LinuxResources{Devices: step.rules}))
				}
				if got := tryDevices(t, g); got != step.want {
					t.Errorf("%s: %s; want %s", step.name, got, step.want)
				}
			}
			refused := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "x"}}}
			if err := g.Update(t.Context(), refused); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "linux.resources.devices[0].type") {
				t.Errorf("Update with a bad rule = %v", err)
			}
		})
	}
}

// tryDevices opens three devices for reading, inside of the group.
func tryDevices(t *testing.T, g *Group) string {
	t.Helper()
	dir := t.TempDir()
	// A device without a driver is not there (ENXIO); one that is denied is not permitted (EPERM).
	script := "try() { mknod " + dir + "/$1 c $2 $3; case $( (: <" + dir + "/$1) 2>&1) in *permitted*) echo $1 no;; *) echo $1 yes;; esac; }\n" +
		"try null 1 3\ntry kmsg 1 11\ntry loop-control 10 237"
	return strings.ReplaceAll(strings.TrimSpace(output(t, g, script)), "\n", ", ")
}

// TestDeviceHole: cgroup2's program can take a part out of a wider rule, v1's lists can't and say so.
func TestDeviceHole(t *testing.T) {
	h, base := testHost(t)
	rules := []specs.LinuxDeviceCgroup{{Access: "rwm"}, char(true, 1, anyNumber, "rw"), char(false, 1, 11, "r")}
	for _, m := range modes(t, h) {
		t.Run(string(m.mode), func(t *testing.T) {
			hi := m.devicesOn()
			if hi == nil {
				testutil.Skip(t, "nothing guards devices here")
			}
			g, err := m.Create(t.Context(), base+"/hole-"+string(m.mode), &specs.LinuxResources{Devices: rules})
			if !hi.v2 {
				if !errors.Is(err, errdefs.ErrNotSupported) || !strings.Contains(err.Error(), "linux.resources.devices") {
					t.Errorf("Create = %v, want ErrNotSupported", err)
				}
				return
			}
			must(t, err)
			node := filepath.Join(t.TempDir(), "kmsg")
			got := output(t, g, "mknod "+node+" c 1 11; (: <"+node+") 2>/dev/null && echo read; (: >"+node+") 2>/dev/null && echo write; (: <>"+node+") 2>/dev/null && echo both; true")
			if got != "write\n" {
				t.Errorf("of kmsg, which may be written only: %q", got)
			}
		})
	}
}
