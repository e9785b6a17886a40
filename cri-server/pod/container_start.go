package pod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// Reasons that a container gives for its state. The first is Kubernetes' own word.
const (
	reasonOOM       = "OOMKilled"
	reasonCompleted = "Completed"
	reasonError     = "Error"
	reasonStart     = "ContainerStartError"
	reasonUnknown   = "Unknown"
)

// Exit codes for what the container could not say itself, as shells and Docker have them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
	exitNoStart       = 128
	exitUnknown       = 255
)

// StartContainer starts a created container; one that runs is fine. One that can't be started has ended, and says why.
func (m *Manager) StartContainer(ctx context.Context, id string) error {
	c, err := m.findContainer(id)
	if err != nil {
		return fmt.Errorf("start container: %w", err)
	}
	start, err := m.beginStart(c)
	if err == nil && start != nil {
		err = start.wait(ctx, "the start")
	}
	if err != nil {
		return fmt.Errorf("start container %s: %w", c.rec.ID, err)
	}
	return nil
}

// beginStart moves a container to starting, or finds the start that is under way. It returns nil if the container runs.
func (m *Manager) beginStart(c *containerEntry) (*call, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errClosed()
	}
	switch c.rec.State {
	case ContainerRunning:
		return nil, nil
	case ContainerStarting:
		return c.start, nil
	case ContainerCreated:
	default:
		return nil, errdefs.FailedPrecondition("the container is %s", c.rec.State)
	}
	p, ok := m.pods[c.rec.PodID]
	if !ok || p.rec.State != PodReady {
		return nil, errdefs.FailedPrecondition("its pod %s is not ready", c.rec.PodID)
	}
	if err := transition(containerMoves(), &c.rec.State, ContainerStarting); err != nil {
		return nil, err
	}
	start := newCall()
	c.start = start
	m.goLocked(func(ctx context.Context) { start.finish(m.startOnce(ctx, p, c)) })
	return start, nil
}

func (m *Manager) startOnce(ctx context.Context, p *podEntry, c *containerEntry) error {
	m.mu.Lock()
	prepared := c.prepared
	m.mu.Unlock()
	if !prepared { // berthd was restarted since it was created
		if err := m.prepareAgain(ctx, p, c); err != nil {
			return errors.Join(err, m.failStart(c, err))
		}
	}
	started, err := m.cfg.Runtime.Start(ctx, c.rec.ID)
	if err != nil {
		return errors.Join(err, m.failStart(c, err))
	}
	early, err := m.setRunning(c, started)
	if err != nil {
		return err
	}
	if err := m.saveContainer(c); err != nil {
		// It runs, and the keeper knows it: a record from before the start is good enough for a restart.
		m.log.WarnContext(ctx, "record of a started container", "container", c.rec.ID, "err", err)
	}
	m.announce(EventStarted, c.rec.ID, c.rec.PodID)
	if early != nil {
		m.endContainer(ctx, c, *early)
	}
	return nil
}

// prepareAgain clears what is left of the preparation by a berthd that is gone: its control group.
func (m *Manager) prepareAgain(ctx context.Context, p *podEntry, c *containerEntry) error {
	rec := m.containerRecordOf(c)
	if err := m.cfg.Runtime.Delete(ctx, rec.ID, container.DeleteOptions{CgroupPath: rec.Cgroup}); err != nil {
		return fmt.Errorf("clear what is left of the container's preparation: %w", err)
	}
	return m.prepareContainer(ctx, p, c)
}

// setRunning also returns the container's end, if that came before this.
func (m *Manager) setRunning(c *containerEntry, s client.Started) (*client.Exit, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := transition(containerMoves(), &c.rec.State, ContainerRunning); err != nil {
		return nil, err
	}
	c.rec.StartedAt, c.pid, c.start = s.At, s.PID, nil
	early := c.early
	c.early = nil
	return early, nil
}

// failStart ends a container that never ran.
func (m *Manager) failStart(c *containerEntry, cause error) error {
	now := time.Now()
	m.mu.Lock()
	err := transition(containerMoves(), &c.rec.State, ContainerExited)
	c.rec.StartedAt, c.rec.FinishedAt = now, now // CRI wants both of what has ended
	c.rec.ExitCode, c.rec.Reason, c.rec.Message = startExitCode(cause), reasonStart, cause.Error()
	m.mu.Unlock()
	err = errors.Join(err, m.saveContainer(c))
	m.announce(EventStopped, c.rec.ID, c.rec.PodID)
	m.mu.Lock()
	defer m.mu.Unlock()
	c.start = nil
	closeOnce(c.exited)
	return err
}

func startExitCode(err error) int32 {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOEXEC):
		return exitNotExecutable
	}
	return exitNoStart
}

// closeOnce closes a channel that Manager.mu guards.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
