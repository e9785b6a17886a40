package main

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/berth-runtime/berth/internal/testutil"
)

// Every part of the document says something: a missing one means "unknown" (runtime-spec, features.md).
func TestFeatures(t *testing.T) {
	data, err := json.Marshal(supported())
	testutil.Must(t, err)
	var doc struct {
		Linux map[string]map[string]json.RawMessage
	}
	_ = json.Unmarshal(data, &doc) // lists don't fit
	for part, fields := range map[string][]string{
		"cgroup":   {"v1", "v2", "systemd", "systemdUser", "rdma"},
		"seccomp":  {"enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags"},
		"apparmor": {"enabled"}, "selinux": {"enabled"}, "netDevices": {"enabled"}, "mountExtensions": {"idmap"},
		"intelRdt": {"enabled", "schemata", "monitoring"}, "memoryPolicy": {"modes", "flags"},
	} {
		for _, f := range fields {
			if len(doc.Linux[part][f]) == 0 {
				t.Errorf("linux.%s.%s is missing", part, f)
			}
		}
	}
	var f features.Features
	testutil.Must(t, json.Unmarshal(data, &f))
	for name, list := range map[string][]string{
		"remount": f.MountOptions, "rro": f.MountOptions, "idmap": f.MountOptions, "time": f.Linux.Namespaces, "CAP_BPF": f.Linux.Capabilities,
		"SCMP_ACT_NOTIFY": f.Linux.Seccomp.Actions, "startContainer": f.Hooks,
	} {
		if !slices.Contains(list, name) {
			t.Errorf("no %s in %v", name, list)
		}
	}
}
