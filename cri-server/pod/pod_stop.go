package pod

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/container"
)

// StopPod kills what runs in the pod and takes its network and namespaces down. A pod that is stopped, or that does not
// exist, is fine. If it fails, it is tried again, also without being asked.
func (m *Manager) StopPod(ctx context.Context, id string) error {
	p, err := m.findPod(id)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := m.stopEntry(ctx, p); err != nil {
		return fmt.Errorf("stop pod %s: %w", p.rec.ID, err)
	}
	return nil
}

func (m *Manager) stopEntry(ctx context.Context, p *podEntry) error {
	if err := p.create.wait(ctx, "making the pod"); ctx.Err() != nil {
		return err // a pod that could not be made is on its way out already
	}
	return m.stopJob(p).wait(ctx, "stopping")
}

func (m *Manager) stopJob(p *podEntry) *call {
	return m.runJob(&p.stop, "stop pod "+p.rec.ID, func(ctx context.Context) error { return m.stopOnce(ctx, p) })
}

// stopOnce is one attempt. It does everything whatever fails, and the pod is stopped when nothing has.
func (m *Manager) stopOnce(ctx context.Context, p *podEntry) error {
	proceed, err := m.beginStop(p)
	if err != nil || !proceed {
		return err
	}
	saveErr := m.savePod(p) // after a crash, a pod half taken down must not come back as ready
	err = errors.Join(saveErr, m.killContainers(ctx, p), m.releasePod(ctx, p))
	m.mu.Lock()
	p.reason = ""
	if err != nil {
		p.reason = err.Error()
		m.mu.Unlock()
		return err
	}
	err = transition(podMoves(), &p.rec.State, PodStopped)
	m.mu.Unlock()
	if err := errors.Join(err, m.savePod(p)); err != nil {
		return err
	}
	m.announce(EventStopped, p.rec.ID, p.rec.ID)
	return nil
}

// beginStop moves the pod to stopping. It says false if there is nothing to stop any more.
func (m *Manager) beginStop(p *podEntry) (proceed bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch p.rec.State {
	case PodStopped, PodRemoving:
		return false, nil
	case PodStopping:
		return true, nil
	}
	return true, transition(podMoves(), &p.rec.State, PodStopping)
}

// killContainers ends all containers of a pod that makes no new ones any more, at once and without grace: a client that
// wants grace has stopped them before.
func (m *Manager) killContainers(ctx context.Context, p *podEntry) error {
	var all errgroup.Group
	for _, c := range m.containersOf(p.rec.ID) {
		all.Go(func() error { return m.stopContainerEntry(ctx, c, 0) })
	}
	return all.Wait()
}

// releasePod takes down what a pod has but its cgroup, whether or not it was ever made.
func (m *Manager) releasePod(ctx context.Context, p *podEntry) error {
	m.mu.Lock()
	pause := p.pause
	m.mu.Unlock()
	if pause != nil {
		<-pause.done
	}
	rec := m.recordOf(p)
	var errs []error
	fail := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	if rec.Pause {
		fail("delete the pause process", m.cfg.Runtime.Delete(ctx, rec.ID, container.DeleteOptions{CgroupPath: m.pauseCgroup(rec)}))
	}
	cfg, err := m.namespacesOf(rec)
	fail("plan namespaces", err)
	if cfg.Net {
		a := attachment(rec)
		if a.Netns == "" { // the record is from before the pin was made, but it may have been made since
			a.Netns = m.pinsDir(rec.ID) + "/net"
		}
		fail("take down the network", m.cfg.Network.Teardown(ctx, a))
	}
	fail("remove namespaces", m.cfg.Namespaces.Remove(ctx, m.pinsDir(rec.ID)))
	fail("unmount shared memory", m.cfg.Machine.Unmount(m.shmPath(rec.ID)))
	return errors.Join(errs...)
}
