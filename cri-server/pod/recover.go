package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/berth-runtime/berth/internal/atomicfile"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/container"
)

// Recover makes records and reality agree after a restart, and begins to follow the ends of containers. It must be called
// once, before anything else. Pods and containers that were half made are taken down; what has ended meanwhile shows its
// code and time; what belongs to nobody is removed. A record that can't be read is put aside
// in STATE/bad, its remains are removed, and the rest goes on; one of a newer berthd is an error, and nothing is touched.
// What can't be removed now is tried again.
func (m *Manager) Recover(ctx context.Context) error {
	rebooted, err := m.checkBoot()
	if err != nil {
		return err
	}
	if rebooted {
		if err := m.forgetRecords(); err != nil {
			return err
		}
	}
	if err := m.loadRecords(ctx); err != nil {
		return err
	}
	states, err := m.cfg.Runtime.Restore(ctx, m.restoreList(ctx))
	if err != nil {
		return fmt.Errorf("take over running containers: %w", err)
	}
	m.reconcile(ctx, states)
	exits := m.cfg.Runtime.Exits()
	m.background.Go(func() { m.followExits(exits) })
	m.takeDownHalfMade()
	m.sweep(ctx)
	m.background.Go(m.collectNetwork)
	return nil
}

const bootFile = "boot_id"

// checkBoot says whether the machine was booted since the records were written: then nothing that they tell of exists.
func (m *Manager) checkBoot() (rebooted bool, err error) {
	now, err := m.cfg.Machine.BootID()
	if err != nil {
		return false, err
	}
	path := filepath.Join(m.cfg.State, bootFile)
	then, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("read the boot of the records: %w", err)
	}
	if string(then) == now {
		return false, nil
	}
	if err := atomicfile.Write(path, []byte(now), 0o600); err != nil {
		return false, fmt.Errorf("note the boot of the records: %w", err)
	}
	return len(then) > 0, nil
}

// forgetRecords removes all records; the sweep removes what they told of.
func (m *Manager) forgetRecords() error {
	m.log.Info("the machine was booted since: records of pods are dropped")
	for _, k := range []kind{podKind(), containerKind()} {
		ids, err := m.store.list(k)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := m.store.remove(k, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadRecords fills the maps. Pods come first: a container without its pod is garbage.
func (m *Manager) loadRecords(ctx context.Context) error {
	if err := m.loadAll(ctx, podKind(), m.loadPod); err != nil {
		return err
	}
	return m.loadAll(ctx, containerKind(), m.loadContainer)
}

func (m *Manager) loadAll(ctx context.Context, k kind, load func(id string, data []byte) error) error {
	ids, err := m.store.list(k)
	if err != nil {
		return err
	}
	for _, id := range ids {
		data, err := m.store.load(k, id)
		if errors.Is(err, errdefs.ErrNotFound) {
			continue // a folder whose record is gone: the sweep takes it
		}
		if err == nil {
			err = load(id, data)
		}
		if err == nil {
			continue
		}
		if errors.Is(err, errNewer) {
			return fmt.Errorf("read the record of %s in %s: %w", id, k.folder, err)
		}
		aside, asideErr := m.store.quarantine(k, id)
		if asideErr != nil {
			return errors.Join(err, asideErr)
		}
		m.log.ErrorContext(ctx, "a record can't be used: it is put aside, and what it told of is removed",
			"kind", k.folder, "id", id, "aside", aside, "err", err)
	}
	return nil
}

func (m *Manager) loadPod(id string, data []byte) error {
	rec, err := decodePod(id, data)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if other, taken := m.names[podName(rec.Config)]; taken {
		return errdefs.Exists("pod %s has the same name", other)
	}
	p := newPodEntry(rec)
	p.create.finish(nil)
	m.pods[id], m.names[podName(rec.Config)] = p, id
	return nil
}

func (m *Manager) loadContainer(id string, data []byte) error {
	rec, err := decodeContainer(id, data)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.pods[rec.PodID]
	if !ok {
		m.stray[id] = rec.Cgroup
		return errdefs.NotFound("its pod %s has no record", rec.PodID)
	}
	name := containerName(rec.PodID, rec.Config)
	if other, taken := m.names[name]; taken {
		m.stray[id] = rec.Cgroup
		return errdefs.Exists("container %s has the same name", other)
	}
	switch rec.State {
	case ContainerCreated, ContainerStarting, ContainerRunning:
		rec.State = ContainerUnknown // the keeper knows better
	}
	c := newContainerEntry(p, rec)
	c.create.finish(nil)
	m.containers[id], m.names[name] = c, id
	return nil
}

// restoreList tells the runtime what there may be.
func (m *Manager) restoreList(ctx context.Context) []container.Restored {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []container.Restored
	for _, p := range m.pods {
		if p.rec.Pause {
			s, err := m.pauseSpec(p.rec)
			if err != nil { // as below
				m.log.DebugContext(ctx, "spec of a recorded pause process", "pod", p.rec.ID, "err", err)
			}
			list = append(list, container.Restored{ID: p.rec.ID, Spec: s, CgroupPath: m.pauseCgroup(p.rec)})
		}
	}
	for _, c := range m.containers {
		pod := m.pods[c.rec.PodID].rec
		s, err := m.respec(pod, c.rec)
		if err != nil {
			// A container half made may have a record that no spec can be made of; it is on its way out.
			m.log.DebugContext(ctx, "spec of a recorded container", "container", c.rec.ID, "err", err)
			continue
		}
		c.spec = s
		list = append(list, container.Restored{
			ID: c.rec.ID, Spec: s, CgroupPath: s.Linux.CgroupsPath, Terminal: c.rec.Config.TTY,
			LogPath: logPathOf(pod, c.rec),
		})
	}
	return list
}
