package pod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// CreateContainer makes a container in a ready pod and returns its ID when it can be started. Requests are joined as
// [Manager.RunPod] does it. If it fails, what was made is gone again, or is being removed.
func (m *Manager) CreateContainer(ctx context.Context, podID string, cfg spec.ContainerConfig) (string, error) {
	p, err := m.findPod(podID)
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", cfg.Name, err)
	}
	if err := errors.Join(spec.CheckContainer(m.recordOf(p).Config, cfg), spec.CheckHost(m.host, cfg)); err != nil {
		return "", fmt.Errorf("create: %w", err)
	}
	c, err := m.reserveContainer(ctx, p, cfg)
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", cfg.Name, err)
	}
	if err := c.create.wait(ctx, "the container"); err != nil {
		return "", fmt.Errorf("create container %s: %w", cfg.Name, err)
	}
	return c.rec.ID, nil
}

// makeContainer takes a container from creating to created. On failure everything is undone before it returns, as far as
// that goes; the rest is undone later.
func (m *Manager) makeContainer(ctx context.Context, p *podEntry, c *containerEntry) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(func() error { return m.abandonContainer(ctx, c) })

	made := m.containerRecordOf(c)
	if err := checkLogFolder(spec.LogPath(m.recordOf(p).Config, made.Config)); err != nil {
		return err
	}
	image, err := m.cfg.Images.Resolve(ctx, made.Config.Image)
	if err != nil {
		return fmt.Errorf("find image: %w", err)
	}
	if err := adoptImage(&made, image); err != nil {
		return err
	}
	if made.Seccomp, err = m.readSeccomp(made.Config.Security.Privileged, made.Config.Security.Seccomp); err != nil {
		return err
	}
	if err := m.prepareMounts(ctx, &made); err != nil {
		return err
	}
	m.setContainerRecord(c, made)
	if err := m.saveContainer(c); err != nil { // before the first effect, so that a crash leaves a trace
		return err
	}
	if err := m.cfg.Images.Prepare(ctx, made.ID, made.ImageID); err != nil {
		return fmt.Errorf("make the writable layer: %w", err)
	}
	if err := m.prepareContainer(ctx, p, c); err != nil {
		return err
	}
	if err := m.moveContainer(c, ContainerCreated); err != nil {
		return err
	}
	if err := m.saveContainer(c); err != nil {
		return err
	}
	cu.Release()
	m.announce(EventCreated, made.ID, made.PodID)
	return nil
}

// checkLogFolder refuses a log in a folder that is not there: it is the client's, who will look for it there.
func checkLogFolder(log string) error {
	if log == "" {
		return nil
	}
	info, err := os.Stat(path.Dir(log))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errdefs.FailedPrecondition("log folder %s does not exist: the client has to make it", path.Dir(log))
	case err != nil:
		return fmt.Errorf("look at the log folder: %w", err)
	case !info.IsDir():
		return errdefs.FailedPrecondition("log folder %s is not a folder", path.Dir(log))
	}
	return nil
}

// adoptImage copies what the container needs to know of its image: it may be untagged later, but runs on.
func adoptImage(r *containerRecord, image imagestore.Image) error {
	cfg := image.Config.Config
	r.ImageID, r.ImageRef = image.ID, image.ID
	if len(image.Digests) > 0 {
		r.ImageRef = image.Digests[0]
	}
	r.Image = spec.Image{
		Entrypoint: cfg.Entrypoint, Cmd: cfg.Cmd, Env: cfg.Env, WorkingDir: cfg.WorkingDir, User: cfg.User,
		StopSignal: cfg.StopSignal, Volumes: cfg.Volumes,
	}
	signal, err := spec.StopSignal(r.Config, r.Image)
	if err != nil {
		return fmt.Errorf("stop signal of image %s: %w", r.Config.Image, err)
	}
	r.StopSignal = int32(signal)
	return nil
}

// reserveContainer returns the container of this name in the pod. If there was none, its making has begun.
func (m *Manager) reserveContainer(ctx context.Context, p *podEntry, cfg spec.ContainerConfig) (*containerEntry, error) {
	for {
		c, going, err := m.tryReserveContainer(p, cfg)
		if err != nil || !going {
			return c, err
		}
		if err := m.removeContainerJob(c).wait(ctx, "removing the container that has the name"); err != nil {
			return nil, errdefs.Unavailable("container %s, which has the name, can't be removed yet: %w", c.rec.ID, err)
		}
	}
}

// tryReserveContainer also says whether the container is on its way out, as tryReservePod does.
func (m *Manager) tryReserveContainer(p *podEntry, cfg spec.ContainerConfig) (_ *containerEntry, going bool, err error) {
	asked, err := digestOf(cfg)
	if err != nil {
		return nil, false, err
	}
	rec := containerRecord{
		Version: recordVersion, ID: newID(), PodID: p.rec.ID, State: ContainerCreating, Config: cfg, Asked: asked,
		CreatedAt: time.Now(),
	}
	name := containerName(p.rec.ID, cfg)
	m.mu.Lock()
	defer m.mu.Unlock()
	rec.Cgroup = m.groups.container(p.rec.Cgroup, rec.ID)
	if m.closed {
		return nil, false, errClosed()
	}
	if id, taken := m.names[name]; taken {
		c := m.containers[id]
		return c, c.failed || c.rec.State == ContainerRemoving, c.joinableLocked(asked)
	}
	// Under the same lock that a stop of the pod begins under: it sees this container, or this one sees the stop.
	if p.rec.State != PodReady {
		return nil, false, errdefs.FailedPrecondition("pod %s is %s, not ready", p.rec.ID, p.rec.State)
	}
	c := newContainerEntry(p, rec)
	m.containers[rec.ID], m.names[name] = c, rec.ID
	m.goLocked(func(ctx context.Context) { c.create.finish(m.makeContainer(ctx, p, c)) })
	return c, false, nil
}

// joinableLocked says why a request can't have this container for an answer.
func (c *containerEntry) joinableLocked(asked string) error {
	switch {
	case c.failed, c.rec.State == ContainerRemoving:
		return nil // the caller waits for its removal and starts over
	case c.rec.Asked != asked:
		return errdefs.Exists("the name is in use by container %s, which has another configuration", c.rec.ID)
	}
	return nil
}

func (m *Manager) containerRecordOf(c *containerEntry) containerRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.rec
}

// setContainerRecord stores what the making of a container found out. Nothing else changes a record meanwhile.
func (m *Manager) setContainerRecord(c *containerEntry, r containerRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.rec = r
}

func (m *Manager) moveContainer(c *containerEntry, to ContainerState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return transition(containerMoves(), &c.rec.State, to)
}

// saveContainer writes the container's record as it is now, unless the container is gone.
func (m *Manager) saveContainer(c *containerEntry) error {
	c.lane.enter()
	defer c.lane.leave()
	return m.saveContainerInLane(c)
}

func (m *Manager) saveContainerInLane(c *containerEntry) error {
	if c.gone {
		return nil
	}
	rec := m.containerRecordOf(c)
	return m.store.save(containerKind(), rec.ID, rec)
}

// dropContainer removes the record for good: nobody who is late writes it again.
func (m *Manager) dropContainer(c *containerEntry) error {
	c.lane.enter()
	defer c.lane.leave()
	if err := m.store.remove(containerKind(), c.rec.ID); err != nil {
		return err
	}
	c.gone = true
	return nil
}
