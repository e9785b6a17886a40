package pod

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// readSeccomp reads the file that a profile of the type Localhost is in; nil if there is none to read.
func (m *Manager) readSeccomp(privileged bool, s *spec.SecurityProfile) (*specs.LinuxSeccomp, error) {
	path := spec.SeccompFile(privileged, s)
	if path == "" {
		return nil, nil
	}
	p, err := m.cfg.Machine.Seccomp(path)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile %s: %w", path, err)
	}
	return p, nil
}

// adoptSeccomp notes the profile of the pod's own process, which may come to be much later.
func (m *Manager) adoptSeccomp(p *podEntry) error {
	s := m.recordOf(p).Config.Security
	profile, err := m.readSeccomp(s.Privileged, s.Seccomp)
	m.mu.Lock()
	defer m.mu.Unlock()
	p.rec.Seccomp = profile
	return err
}

// Seccomp reads a profile from a regular file of the node. Anything else that may be at that path is not waited for.
func (linux) Seccomp(path string) (*specs.LinuxSeccomp, error) {
	data, err := sys.ReadRegular(path, spec.MaxSeccompProfile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.NotFound("there is no such file on this node")
	}
	if err != nil {
		return nil, err
	}
	return spec.ParseSeccomp(data)
}
