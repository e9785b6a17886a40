package pod

import (
	"context"
	"fmt"

	"github.com/berth-runtime/berth/cri-server/spec"
)

// labels returns the SELinux labels of a container.
func (m *Manager) labels(pod podRecord, r containerRecord) spec.Labels {
	return spec.SELinuxLabels(m.host, pod.ID, pod.Config, r.Config)
}

// labelFiles gives what the container may use of the host's files its label, or says that there are none here.
func (m *Manager) labelFiles(ctx context.Context, in spec.Input, label string) error {
	if spec.SELinuxIgnored(m.host, in.Pod, in.Container) {
		m.log.WarnContext(ctx, "SELinux is off on this machine: the container's SELinux options are ignored", "container", in.ID)
	}
	if label == "" {
		return nil
	}
	for _, path := range spec.LabelledPaths(in) {
		if err := m.cfg.Machine.Relabel(ctx, path, label); err != nil {
			return fmt.Errorf("give the container's files its SELinux label: %w", err)
		}
	}
	return nil
}
