package plan

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Bounds of a spec's lists. What is longer would be too large for a program in any case, but would be found out after its
// effects, and after time that grows with the square of the length.
const (
	maxMounts   = 1024
	maxPaths    = 1024
	maxDevices  = 1024
	maxSysctls  = 1024
	maxStrings  = 1 << 16 // of arguments, and of the environment
	maxMappings = 340     // UID_GID_MAP_MAX_EXTENTS
	maxOthers   = 64
)

// checkSizes refuses lists that nothing could be done with. A length that wrapped around has been an escape elsewhere
// (CVE-2021-43784).
func checkSizes(s *specs.Spec) error {
	l := s.Linux
	for _, list := range [...]struct {
		field      string
		have, most int
	}{
		{"process.args", len(s.Process.Args), maxStrings},
		{"process.env", len(s.Process.Env), maxStrings},
		{"process.rlimits", len(s.Process.Rlimits), maxOthers},
		{"mounts", len(s.Mounts), maxMounts},
		{"linux.namespaces", len(l.Namespaces), maxOthers},
		{"linux.uidMappings", len(l.UIDMappings), maxMappings},
		{"linux.gidMappings", len(l.GIDMappings), maxMappings},
		{"linux.devices", len(l.Devices), maxDevices},
		{"linux.maskedPaths", len(l.MaskedPaths), maxPaths},
		{"linux.readonlyPaths", len(l.ReadonlyPaths), maxPaths},
		{"linux.sysctl", len(l.Sysctl), maxSysctls},
	} {
		if list.have > list.most {
			return errdefs.Invalid("%s: %d entries, more than %d", list.field, list.have, list.most)
		}
	}
	return nil
}
