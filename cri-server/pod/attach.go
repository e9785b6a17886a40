package pod

import (
	"context"
	"fmt"

	"github.com/berth-runtime/berth/internal/cleanup"
)

// Attach connects a client's streams to those of a running container, or takes the place that [Manager.ReserveAttach] has
// kept for it. It returns when the container's output ends or the client goes away (ctx), which does not stop the container.
// Input is taken if the container was made with stdin; its end is the end of the container's input if it was made with
// stdin_once.
func (m *Manager) Attach(ctx context.Context, id string, s AttachStream) error {
	c, err := m.findContainer(id)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if err := m.attach(ctx, c, s); err != nil {
		return fmt.Errorf("attach to container %s: %w", c.rec.ID, err)
	}
	return nil
}

func (m *Manager) attach(ctx context.Context, c *containerEntry, s AttachStream) (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()

	p := m.takeReserved(c)
	if p == nil {
		if _, err := m.runningContainer(c.rec.ID); err != nil {
			return err
		}
		if p, err = m.connect(ctx, c, s.Stdin != nil, s.Stdout != nil, s.Stderr != nil); err != nil {
			return err
		}
	}
	cu.Add(p.close)
	if err := p.drop(s.Stdin == nil, s.Stdout == nil, s.Stderr == nil); err != nil {
		return err
	}
	cfg := m.containerRecordOf(c).Config
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if cfg.TTY {
		go resize(ctx, s.Resize, func(w, h uint16) error { return m.cfg.Runtime.Resize(ctx, c.rec.ID, w, h) })
	}
	copyInput(p.stdin.ours, s.Stdin)
	p.stdin.ours = nil // copyInput's now
	var outs []*output
	if p.stdout.ours != nil {
		outs = append(outs, copyOutput(p.stdout.ours, s.Stdout))
	}
	if p.stderr.ours != nil {
		outs = append(outs, copyOutput(p.stderr.ours, s.Stderr))
	}
	return m.followOutput(ctx, c, outs)
}

// connect attaches new pipes of the kinds asked for, as far as the container has them.
func (m *Manager) connect(ctx context.Context, c *containerEntry, stdin, stdout, stderr bool) (_ *pipes, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cfg := m.containerRecordOf(c).Config
	p, err := openPipes(stdin && cfg.Stdin, stdout, stderr && !cfg.TTY)
	cu.Add(p.close)
	if err != nil {
		return nil, err
	}
	theirs := p.theirs()
	if err := m.cfg.Runtime.Attach(ctx, c.rec.ID, theirs[0], theirs[1], theirs[2]); err != nil {
		return nil, err
	}
	if err := p.closeTheirs(); err != nil {
		return nil, err
	}
	cu.Release()
	return p, nil
}

// followOutput waits until every stream has ended. The keeper closes them after the container's last byte.
func (m *Manager) followOutput(ctx context.Context, c *containerEntry, outs []*output) error {
	ended := c.exited
	if len(outs) > 0 {
		ended = make(chan struct{})
		go func() {
			defer close(ended)
			for _, o := range outs {
				<-o.done
			}
		}()
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	case <-m.closing:
	}
	for _, o := range outs {
		if err := o.finish(); err != nil {
			return err
		}
	}
	return ctx.Err()
}
