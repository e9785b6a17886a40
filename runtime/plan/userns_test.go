package plan_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/plan"
)

func mapped(s *specs.Spec) {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
	s.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: 200000, Size: 65536}}
}

func TestUserNamespaceRefusals(t *testing.T) {
	for text, change := range map[string]func(*specs.Spec){
		"linux.uidMappings: no mapping":                 func(s *specs.Spec) { s.Linux.UIDMappings = nil },
		"linux.gidMappings: no mapping":                 func(s *specs.Spec) { s.Linux.GIDMappings = nil },
		"linux.gidMappings[0]: 0 IDs":                   func(s *specs.Spec) { s.Linux.GIDMappings[0].Size = 0 },
		"linux.uidMappings[1]: overlaps":                func(s *specs.Spec) { s.Linux.UIDMappings = append(s.Linux.UIDMappings, s.Linux.UIDMappings[0]) },
		"linux.uidMappings: root 0 is not mapped":       func(s *specs.Spec) { s.Linux.UIDMappings[0].ContainerID = 1 },
		"process.user.uid: user 70000 is not":           func(s *specs.Spec) { s.Process.User.UID = 70000 },
		"process.user.gid: group 70000 is not":          func(s *specs.Spec) { s.Process.User.GID = 70000 },
		"process.user.additionalGids: group 70000":      func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{1, 70000} },
		`linux.namespaces: type "user" twice`:           mapped,
		"linux.timeOffsets: needs a new time namespace": func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1}} },
		"linux.timeOffsets.boottime.nanosecs: 1000000000": func(s *specs.Spec) {
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Nanosecs: 1e9}}
		},
		`linux.timeOffsets: "realtime" is no clock`:             func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"realtime": {Secs: 1}} },
		`linux.namespaces: path "rel" of type "user" is not`:    func(s *specs.Spec) { s.Linux.Namespaces[len(s.Linux.Namespaces)-1].Path = "rel" },
		"linux.uidMappings: needs a user namespace in linux.na": func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[:len(s.Linux.Namespaces)-1] },
	} {
		t.Run(text, func(t *testing.T) {
			s, f := spec(), facts()
			f.Prepared = []string{"/image"}
			mapped(s)
			change(s)
			_, err := plan.New(s, f)
			if !errors.Is(err, errdefs.ErrInvalid) || !strings.HasPrefix(err.Error(), text) {
				t.Errorf("error %v", err)
			}
		})
	}
}
