package spec

import (
	"bytes"
	"encoding/json"
	"io"
	"path"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// MaxSeccompProfile bounds a profile's file, in bytes. The largest programs that the kernel takes come from less.
const MaxSeccompProfile = 1 << 20

// seccomp returns the profile of a container: none for a privileged one, whatever it asks for.
func seccomp(sec ContainerSecurity, file *specs.LinuxSeccomp, capabilities []string, kept *Profiles) (*specs.LinuxSeccomp, error) {
	s := sec.Seccomp
	switch {
	case sec.Privileged, s == nil, s.Type == ProfileUnconfined:
		return nil, nil
	case s.Type == ProfileRuntimeDefault:
		return kept.runtimeDefault(capabilities), nil
	case file == nil:
		return nil, errdefs.Bug("the seccomp profile %s was not read", s.Ref)
	}
	return file, nil
}

// pauseSeccomp returns the profile of a pod's own process, which the pod's is for.
func pauseSeccomp(s *SecurityProfile, file *specs.LinuxSeccomp, kept *Profiles) *specs.LinuxSeccomp {
	switch {
	case s == nil || s.Type == ProfileUnconfined:
		return nil
	case s.Type == ProfileRuntimeDefault:
		return kept.runtimeDefault(nil)
	}
	return file
}

// SeccompFile returns the path of the file that a profile is in, or "".
func SeccompFile(privileged bool, s *SecurityProfile) string {
	if privileged || s == nil || s.Type != ProfileLocalhost {
		return ""
	}
	return s.Ref
}

func checkSeccomp(s *SecurityProfile) error {
	switch {
	case s == nil || s.Type == ProfileUnconfined || s.Type == ProfileRuntimeDefault:
		return nil
	case s.Type != ProfileLocalhost:
		return errdefs.Invalid("seccomp profile type %d: only RuntimeDefault, Unconfined and Localhost exist", s.Type)
	case !path.IsAbs(s.Ref):
		return errdefs.Invalid("seccomp profile %q is not an absolute path on the node", s.Ref)
	}
	return checkPath("seccomp profile", s.Ref)
}

// ParseSeccomp reads a profile of the node: linux.seccomp of the OCI runtime spec. A field that is not one of it, such as
// the conditions of Docker's profiles, is refused: without them the rest would allow too much. What the fields say is
// checked where they are compiled.
func ParseSeccomp(data []byte) (*specs.LinuxSeccomp, error) {
	if len(data) > MaxSeccompProfile {
		return nil, errdefs.Invalid("%d bytes, more than %d", len(data), MaxSeccompProfile)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var p *specs.LinuxSeccomp
	if err := d.Decode(&p); err != nil {
		return nil, errdefs.Invalid("read as linux.seccomp of the OCI runtime spec: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errdefs.Invalid("read as linux.seccomp of the OCI runtime spec: more than one value")
	}
	if p == nil {
		return nil, errdefs.Invalid("null is no profile")
	}
	if p.Flags != nil && len(p.Flags) == 0 {
		// "None" must not become "the default ones" when the profile is written to a record, which has no empty lists. This
		// flag changes nothing for a process with one thread.
		p.Flags = []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC"}
	}
	return p, nil
}
