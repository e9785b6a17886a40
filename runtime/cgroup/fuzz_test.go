package cgroup

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Any resources that are JSON, of a spec or of an update, become writes of one value to one file each, or an error of one
// of two kinds that begins with the field.
func FuzzResources(f *testing.F) {
	for _, s := range []string{
		`{"cpu":{"cpus":"0-3","mems":"x","shares":5,"quota":-1,"period":100000,"burst":7,"idle":1},"memory":{"limit":100,"swap":150,"reservation":-1}}`,
		`{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"r"}],"pids":{"limit":0}}`,
		`{"unified":{"memory.high":"5","io.max":"8:0 rbps=5\n8:16 wbps=6","../x":"1"},"rdma":{"a":{"hcaHandles":1}},"hugepageLimits":[{"pageSize":"2MB","limit":5}]}`,
		`{"blockIO":{"weight":10,"weightDevice":[{"major":8,"minor":0,"weight":9}],"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":5}]}}`,
		`{"network":{"classID":5,"priorities":[{"name":"eth0","priority":3}]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r specs.LinuxResources
		if json.Unmarshal(data, &r) != nil {
			t.Skip()
		}
		for _, controllers := range []func(string) (bool, bool){allV1, allV2} {
			writes, err := plan(planner{v2: controllers, now: fresh}, &r)
			checkFuzzed(t, err)
			for _, w := range writes {
				if strings.ContainsAny(w.file, "/\x00") || w.file == ".." || strings.Contains(w.value, "\x00") {
					t.Fatalf("a write of %q to %q", w.value, w.file)
				}
			}
		}
		if rules, err := planDevices(r.Devices); err != nil {
			checkFuzzed(t, err)
		} else {
			rules.program()
			_, err = rules.fold()
			checkFuzzed(t, err)
		}
	})
}

func checkFuzzed(t *testing.T, err error) {
	t.Helper()
	if err != nil && (!errors.Is(err, errdefs.ErrInvalid) && !errors.Is(err, errdefs.ErrNotSupported) || !strings.HasPrefix(err.Error(), "linux.resources.")) {
		t.Fatalf("error %v", err)
	}
}
