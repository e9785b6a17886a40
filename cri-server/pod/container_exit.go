package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// followExits handles the ends of containers until the manager or the runtime is closed. Each is handled on its own, so that one on a
// slow control group holds up nobody.
func (m *Manager) followExits(exits <-chan container.ExitEvent) {
	for {
		select {
		case e, ok := <-exits:
			if !ok {
				return
			}
			m.dispatchExit(e)
		case <-m.closing:
			return
		}
	}
}

func (m *Manager) dispatchExit(e container.ExitEvent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.containers[e.ID]; ok {
		m.goLocked(func(ctx context.Context) { m.endContainer(ctx, c, e.Exit) })
		return
	}
	if p, ok := m.pods[e.ID]; ok {
		m.goLocked(func(ctx context.Context) { m.endPause(ctx, p, e.Exit) })
	}
}

// endContainer records the end of a container. A second report of the same end changes nothing.
func (m *Manager) endContainer(ctx context.Context, c *containerEntry, exit client.Exit) {
	// While its cgroup is still there: Delete takes the counter with it.
	oom, err := m.cfg.Runtime.OOMKilled(ctx, c.rec.ID)
	if err != nil {
		m.log.WarnContext(ctx, "ask whether the container was killed for lack of memory", "container", c.rec.ID, "err", err)
	}
	if !m.setExited(c, exit, oom) {
		return
	}
	if err := m.saveContainer(c); err != nil {
		m.log.WarnContext(ctx, "record of an ended container", "container", c.rec.ID, "err", err)
	}
	m.rates.Forget(c.rec.ID)
	m.announce(EventStopped, c.rec.ID, c.rec.PodID)
	// Last: who waits for the end may remove the container next, and with it what was written and told just now.
	m.mu.Lock()
	defer m.mu.Unlock()
	closeOnce(c.exited)
}

// setExited says whether it changed anything.
func (m *Manager) setExited(c *containerEntry, exit client.Exit, oom bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.rec.State == ContainerStarting && c.early == nil {
		c.early = &exit // faster than the answer to its start: that one will call again
		return false
	}
	if err := transition(containerMoves(), &c.rec.State, ContainerExited); err != nil {
		return false
	}
	c.rec.FinishedAt, c.pid = exit.At, 0
	c.rec.ExitCode, c.rec.Reason, c.rec.Message = describeExit(exit, oom)
	return true
}

// describeExit turns an end into what CRI shows. Only a death by SIGKILL is put down to lack of memory: the kernel may have
// killed another process of the container long before its first one ended by itself.
func describeExit(exit client.Exit, oom bool) (code int32, reason, message string) {
	const sigkill = 9
	switch {
	case !exit.Known:
		return exitUnknown, reasonUnknown, "how the container ended is not known: " + exit.Reason
	case oom && (exit.Signal == sigkill || exit.Code == 128+sigkill):
		return int32(exit.Code), reasonOOM, "the kernel killed a process of the container: its memory limit was reached"
	case exit.Code == 0:
		return 0, reasonCompleted, ""
	case exit.Signal != 0:
		return int32(exit.Code), reasonError, fmt.Sprintf("ended by signal %d", exit.Signal)
	}
	return int32(exit.Code), reasonError, ""
}

// endPause takes a pod down whose PID namespace has lost its init: the kernel has killed all that was in it.
func (m *Manager) endPause(ctx context.Context, p *podEntry, exit client.Exit) {
	m.mu.Lock()
	ready := p.rec.State == PodReady
	p.pausePID = 0
	m.mu.Unlock()
	if !ready {
		return
	}
	m.log.WarnContext(ctx, "the process that holds the pod's PID namespace has ended, the pod is stopped", "pod", p.rec.ID, "code", exit.Code)
	if err := m.stopJob(p).wait(ctx, "stopping"); err != nil && !errors.Is(err, context.Canceled) {
		m.log.WarnContext(ctx, "stop a pod without its PID namespace", "pod", p.rec.ID, "err", err)
	}
}
