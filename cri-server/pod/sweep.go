package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/berth-runtime/berth/runtime/container"
)

// sweep removes what belongs to no pod and no container: what records that were lost told of, and what outlived a reboot.
// What it can't remove it reports; the next start tries again.
func (m *Manager) sweep(ctx context.Context) {
	steps := []struct {
		what string
		run  func(context.Context) error
	}{
		{"folders of containers", m.sweepContainers},
		{"folders of pods", m.sweepPods},
		{"writable layers", m.sweepLayers},
		{"anonymous volumes and files of pods", m.sweepVolumes},
		{"network attachments", m.sweepNetwork},
		{"control groups", m.sweepCgroups},
	}
	for _, s := range steps {
		if err := s.run(ctx); err != nil {
			m.log.WarnContext(ctx, "sweep what belongs to nobody", "what", s.what, "err", err)
		}
	}
}

// has says whether an ID is a pod's or a container's.
func (m *Manager) has(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pods[id] != nil || m.containers[id] != nil
}

func (m *Manager) sweepContainers(ctx context.Context) error {
	return m.sweepKind(containerKind(), func(id string) error {
		errs := []error{m.cfg.Runtime.Delete(ctx, id, container.DeleteOptions{CgroupPath: m.strayCgroup(id)})}
		for _, parent := range m.cgroupParents() { // of a record that can't be read nobody knows which
			errs = append(errs, m.cfg.Cgroups.Remove(ctx, m.groups.container(parent, id)))
		}
		return errors.Join(append(errs, m.cfg.Images.Discard(ctx, id))...)
	})
}

func (m *Manager) strayCgroup(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stray[id]
}

func (m *Manager) cgroupParents() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for _, p := range m.pods {
		if !slices.Contains(list, p.rec.Cgroup) {
			list = append(list, p.rec.Cgroup)
		}
	}
	return list
}

func (m *Manager) sweepPods(ctx context.Context) error {
	return m.sweepKind(podKind(), func(id string) error {
		return errors.Join(
			m.cfg.Runtime.Delete(ctx, id, container.DeleteOptions{}), // its pause process, if there is one
			m.cfg.Namespaces.Remove(ctx, m.pinsDir(id)),
			m.cfg.Machine.Unmount(m.shmPath(id)),
		)
	})
}

// sweepKind releases what has a folder but no record, and then removes the folder.
func (m *Manager) sweepKind(k kind, release func(id string) error) error {
	ids, err := m.store.list(k)
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		if m.has(id) {
			continue
		}
		if err := release(id); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
			continue
		}
		errs = append(errs, m.store.remove(k, id))
	}
	return errors.Join(errs...)
}

func (m *Manager) sweepLayers(ctx context.Context) error {
	keys, err := m.cfg.Images.Keys(ctx)
	errs := []error{err}
	for _, key := range keys {
		owner, _, _ := strings.Cut(key, "-") // see viewKey
		if validID(owner) && !m.has(owner) {
			errs = append(errs, m.cfg.Images.Discard(ctx, key))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) sweepVolumes(context.Context) error {
	entries, err := os.ReadDir(m.cfg.Volumes)
	errs := []error{err}
	for _, e := range entries {
		if validID(e.Name()) && !m.has(e.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(m.cfg.Volumes, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// collectNetwork sweeps the network from time to time until the manager closes: a plugin, or somebody else who uses the same ones, may
// leave something at any time, and addresses are few. What a pod is still to be detached from is not its business.
func (m *Manager) collectNetwork() {
	tick := time.NewTicker(m.cfg.Collect)
	defer tick.Stop()
	for {
		select {
		case <-m.closing:
			return
		case <-tick.C:
		}
		ctx, cancel := m.limited()
		if err := m.sweepNetwork(ctx); err != nil && ctx.Err() == nil {
			m.log.WarnContext(ctx, "sweep what belongs to nobody", "what", "network attachments", "err", err)
		}
		cancel()
	}
}

func (m *Manager) sweepNetwork(ctx context.Context) error {
	m.mu.Lock()
	var valid []string
	for id, p := range m.pods {
		if p.rec.State != PodStopped && p.rec.State != PodRemoving { // those are torn down, or it would not say so
			valid = append(valid, id)
		}
	}
	m.mu.Unlock()
	return m.cfg.Network.GC(ctx, valid)
}

func (m *Manager) sweepCgroups(ctx context.Context) error {
	names, err := m.cfg.Cgroups.Children(m.groups.root)
	errs := []error{err}
	for _, name := range names {
		if id := m.groups.podOf(name); validID(id) && !m.has(id) {
			errs = append(errs, m.cfg.Cgroups.Remove(ctx, m.groups.ownPod(id)))
		}
	}
	return errors.Join(errs...)
}
