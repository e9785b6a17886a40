package pod

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// RunPod makes a pod and returns its ID when containers can be made in it. A request for a pod that is being made joins
// that; one for a pod that is ready gets its ID, if it asks for the same. Else ErrExists names the pod that has the name.
// If it fails, what was made is gone again, or is being removed.
func (m *Manager) RunPod(ctx context.Context, cfg spec.PodConfig) (string, error) {
	if err := m.checkPod(cfg); err != nil {
		return "", fmt.Errorf("run pod %s: %w", cfg.Name, err)
	}
	p, err := m.reservePod(ctx, cfg)
	if err != nil {
		return "", fmt.Errorf("run pod %s: %w", cfg.Name, err)
	}
	if err := p.create.wait(ctx, "the pod"); err != nil {
		return "", fmt.Errorf("run pod %s: %w", cfg.Name, err)
	}
	return p.rec.ID, nil
}

// makePod takes a pod from creating to ready. On failure everything is undone before it returns, as far as that goes; the
// rest is undone later.
func (m *Manager) makePod(ctx context.Context, p *podEntry) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { return m.abandonPod(ctx, p, err) })

	if err := m.adoptSeccomp(p); err != nil {
		return err
	}
	if err := m.savePod(p); err != nil { // before the first effect, so that a crash leaves a trace
		return err
	}
	planned := m.recordOf(p)
	made := planned // connectPod's, until both have ended
	together, gctx := errgroup.WithContext(ctx)
	together.Go(func() error { return m.connectPod(gctx, &made) })
	together.Go(func() error { return m.furnishPod(gctx, planned) })
	if err := together.Wait(); err != nil {
		return err
	}
	if err := m.writeHosts(made); err != nil {
		return err
	}
	if err := m.setPodReady(p, made); err != nil {
		return err
	}
	if err := m.savePod(p); err != nil {
		return err
	}
	cu.Release()
	m.announce(EventCreated, p.rec.ID, p.rec.ID)
	m.announce(EventStarted, p.rec.ID, p.rec.ID)
	return nil
}

// connectPod makes the namespaces and, in the new network namespace, the network.
func (m *Manager) connectPod(ctx context.Context, r *podRecord) error {
	cfg, err := m.namespacesOf(*r)
	if err != nil {
		return err
	}
	if cfg.Net || cfg.IPC || cfg.UTS {
		if r.Pins, err = m.cfg.Namespaces.Create(ctx, cfg, usersOf(r.Config)); err != nil {
			return fmt.Errorf("make namespaces: %w", err)
		}
	}
	if !cfg.Net {
		return nil
	}
	result, err := m.cfg.Network.Setup(ctx, attachment(*r))
	if err != nil {
		return fmt.Errorf("set up network: %w", m.nameOthers(err, r.ID))
	}
	r.IPs, r.CNI = result.IPs, result.Raw
	return nil
}

// furnishPod makes what needs no namespace: the cgroup, shared memory and the files of /etc.
func (m *Manager) furnishPod(ctx context.Context, r podRecord) error {
	if r.OwnCgroup {
		limits, err := spec.LinuxResources(r.Config.Resources, m.host)
		if err != nil {
			return err
		}
		if err := m.cfg.Cgroups.Create(ctx, r.Cgroup, limits); err != nil {
			return fmt.Errorf("make the pod's cgroup: %w", err)
		}
	}
	if r.Config.Security.Namespaces.IPC != spec.NamespaceNode {
		if err := m.cfg.Machine.MountShm(m.shmPath(r.ID), m.cfg.ShmSize); err != nil {
			return fmt.Errorf("mount shared memory: %w", err)
		}
	}
	return m.writeNames(r)
}

func (m *Manager) checkPod(cfg spec.PodConfig) error {
	if err := spec.CheckPod(cfg); err != nil {
		return err
	}
	if cfg.Handler != "" && !slices.Contains(m.cfg.Handlers, cfg.Handler) {
		return errdefs.Invalid("runtime handler %q is not known; those that are: %q", cfg.Handler, append([]string{""}, m.cfg.Handlers...))
	}
	return nil
}

// reservePod returns the pod of this name. If there was none, its making has begun.
func (m *Manager) reservePod(ctx context.Context, cfg spec.PodConfig) (*podEntry, error) {
	for {
		p, going, err := m.tryReservePod(cfg)
		if err != nil || !going {
			return p, err
		}
		if err := m.removeJob(p).wait(ctx, "removing the pod that has the name"); err != nil {
			return nil, errdefs.Unavailable("pod %s, which has the name, can't be removed yet: %w", p.rec.ID, err)
		}
	}
}

// tryReservePod also says whether the pod is on its way out: one that had failed before this request, or is being removed.
func (m *Manager) tryReservePod(cfg spec.PodConfig) (_ *podEntry, going bool, err error) {
	asked, err := digestOf(cfg)
	if err != nil {
		return nil, false, err
	}
	rec, err := m.newPodRecord(cfg, asked)
	if err != nil {
		return nil, false, err
	}
	name := podName(cfg)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, false, errClosed()
	}
	if id, taken := m.names[name]; taken {
		p := m.pods[id]
		return p, p.failed || p.rec.State == PodRemoving, p.joinableLocked(asked)
	}
	p := newPodEntry(rec)
	m.pods[rec.ID], m.names[name] = p, rec.ID
	m.goLocked(func(ctx context.Context) { p.create.finish(m.makePod(ctx, p)) })
	return p, false, nil
}

// joinableLocked says why a request can't have this pod for an answer.
func (p *podEntry) joinableLocked(asked string) error {
	switch {
	case p.failed, p.rec.State == PodRemoving:
		return nil // the caller waits for its removal and starts over
	case p.rec.State != PodCreating && p.rec.State != PodReady:
		return errdefs.Exists("the name is still in use by pod %s, which is %s: remove it first", p.rec.ID, p.rec.State)
	case p.rec.Asked != asked:
		return errdefs.Exists("the name is in use by pod %s, which has another configuration", p.rec.ID)
	}
	return nil
}

func (m *Manager) newPodRecord(cfg spec.PodConfig, asked string) (podRecord, error) {
	id := newID()
	cgroup, own, err := m.groups.pod(id, cfg.CgroupParent)
	if err != nil {
		return podRecord{}, err
	}
	return podRecord{
		Version: recordVersion, ID: id, State: PodCreating, CreatedAt: time.Now(), Config: cfg, Asked: asked,
		Hostname: spec.Hostname(id, cfg, m.host.Hostname), Cgroup: cgroup, OwnCgroup: own,
	}, nil
}

func (m *Manager) setPodReady(p *podEntry, made podRecord) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.rec.Pins, p.rec.IPs, p.rec.CNI = made.Pins, made.IPs, made.CNI
	return transition(podMoves(), &p.rec.State, PodReady)
}

// savePod writes the pod's record as it is now, unless the pod is gone.
func (m *Manager) savePod(p *podEntry) error {
	p.lane.enter()
	defer p.lane.leave()
	return m.savePodInLane(p)
}

func (m *Manager) savePodInLane(p *podEntry) error {
	if p.gone {
		return nil
	}
	rec := m.recordOf(p)
	return m.store.save(podKind(), rec.ID, rec)
}

// dropPod removes the record for good: nobody who is late writes it again.
func (m *Manager) dropPod(p *podEntry) error {
	p.lane.enter()
	defer p.lane.leave()
	if err := m.store.remove(podKind(), p.rec.ID); err != nil {
		return err
	}
	p.gone = true
	return nil
}

// recordOf returns a pod's record as it is now.
func (m *Manager) recordOf(p *podEntry) podRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	return p.rec
}
