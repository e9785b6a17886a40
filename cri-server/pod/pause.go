package pod

import (
	"context"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/pause"
)

// sharePID makes sure that the pod's PID namespace exists: a process of ours is its init, runs as a container whose ID is
// the pod's, and reaps what the containers leave. Pods without a container that shares PIDs never have one.
func (m *Manager) sharePID(ctx context.Context, p *podEntry) error {
	m.mu.Lock()
	// Under the same lock that a stop begins under: it sees this process, or this one sees the stop.
	if p.rec.State != PodReady {
		m.mu.Unlock()
		return errdefs.FailedPrecondition("pod %s is not ready any more", p.rec.ID)
	}
	if p.pause == nil || p.pause.failed() {
		c, again := newCall(), p.rec.Pause // the attempt before left something, or berthd was killed in it
		p.pause, p.rec.Pause = c, true
		m.goLocked(func(ctx context.Context) { c.finish(m.startPause(ctx, p, again)) })
	}
	c := p.pause
	m.mu.Unlock()
	return c.wait(ctx, "starting the process that holds the PID namespace")
}

func (m *Manager) startPause(ctx context.Context, p *podEntry, again bool) error {
	if err := m.savePod(p); err != nil {
		return err
	}
	rec := m.recordOf(p)
	if again {
		if err := m.cfg.Runtime.Delete(ctx, rec.ID, container.DeleteOptions{CgroupPath: m.pauseCgroup(rec)}); err != nil {
			return fmt.Errorf("clear what is left of the pause process: %w", err)
		}
	}
	s, err := m.pauseSpec(rec)
	if err != nil {
		return err
	}
	root, err := m.cfg.Machine.PauseRoot(s.Linux.MountLabel)
	if err != nil {
		return fmt.Errorf("make the root of the pause process: %w", err)
	}
	o := container.CreateOptions{ID: rec.ID, Root: root, Spec: s}
	if err := m.cfg.Runtime.Create(ctx, o); err != nil {
		return fmt.Errorf("create the pause process: %w", err)
	}
	started, err := m.cfg.Runtime.Start(ctx, rec.ID)
	if err != nil {
		return fmt.Errorf("start the pause process: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p.pausePID = started.PID
	return nil
}

func (m *Manager) pauseSpec(r podRecord) (*specs.Spec, error) {
	return spec.Pause(r.ID, r.Config, podPaths(r), m.pauseCgroup(r), pause.Path, r.Seccomp, m.host)
}

// pauseCgroup is the process's own, below the pod's, so that its few pages are not a container's.
func (m *Manager) pauseCgroup(r podRecord) string { return m.groups.container(r.Cgroup, r.ID+"-pause") }

// pidNamespace returns the path of the PID namespace that a container joins, or "". Where it is a process's, the process is
// named by its number, so that checkJoined has to look again once it is open.
func (m *Manager) pidNamespace(ctx context.Context, p *podEntry, c spec.ContainerConfig) (string, error) {
	pod := m.recordOf(p)
	ns := spec.ContainerNamespaces(pod.Config, c)
	switch ns.PID {
	case spec.NamespacePod:
		if err := m.sharePID(ctx, p); err != nil {
			return "", err
		}
		return m.processNamespace(p.rec.ID)
	case spec.NamespaceTarget:
		m.mu.Lock()
		target, err := find(m.containers, "container", ns.TargetID)
		m.mu.Unlock()
		if err != nil {
			return "", fmt.Errorf("target of the PID namespace: %w", err)
		}
		if target.rec.PodID != p.rec.ID {
			return "", errdefs.Invalid("target %s of the PID namespace is in another pod", target.rec.ID)
		}
		return m.processNamespace(target.rec.ID)
	}
	return "", nil
}

// checkJoined wants the process whose PID namespace was opened to live still: its number was not another's at that time then.
func (m *Manager) checkJoined(ctx context.Context, p *podEntry, r containerRecord, opened string) error {
	if opened == "" {
		return nil
	}
	now, err := m.pidNamespace(ctx, p, r.Config)
	if err == nil && now != opened {
		err = errdefs.FailedPrecondition("join a PID namespace: the process that it was of has ended meanwhile; try again")
	}
	return err
}

func (m *Manager) processNamespace(id string) (string, error) {
	pid, err := m.cfg.Runtime.PID(id)
	if err != nil {
		return "", fmt.Errorf("find the process whose PID namespace is joined: %w", err)
	}
	return fmt.Sprintf("/proc/%d/ns/pid", pid), nil
}
