// Package supervise keeps one keeper running: it starts berth-keeper in a session and a control group of its own, so that
// whatever ends berthd does not end the keeper, and connects to it, or to one that lives on from before.
//
// It owns the start of the process, its binary's seal against containers, and its reaping. It does not own what the keeper
// keeps; handing that back to a successor is the business of runtime/container.
//
// Lock: Supervisor.mu guards the list of reapers to stop; nothing blocks under it. One Connect at a time.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// Config says where the keeper is. All fields but Cgroup must be set.
type Config struct {
	Binary   string // path of berth-keeper
	Socket   string
	StateDir string        // the keeper's; its log is keeper.log there
	Cgroup   *cgroup.Group // the keeper's own; nil = stay where berthd is
	Logger   *slog.Logger
}

// Supervisor starts keepers. It implements container.Keeper.
type Supervisor struct {
	cfg     Config
	reapers sync.WaitGroup

	mu   sync.Mutex
	stop []context.CancelFunc // of the reapers
}

// New returns a Supervisor; nothing is started before Connect.
func New(cfg Config) *Supervisor { return &Supervisor{cfg: cfg} }

// Close lets go of the keeper, which runs on.
func (s *Supervisor) Close() error {
	s.mu.Lock()
	for _, stop := range s.stop {
		stop()
	}
	s.mu.Unlock()
	s.reapers.Wait()
	return nil
}

// Connect returns a new connection to the keeper, starting one where none answers. One that is still dying is waited for
// by its successor, not here. One that runs another binary than the configured one is upgraded first.
func (s *Supervisor) Connect(ctx context.Context) (*client.Client, error) {
	conn, err := client.Dial(ctx, s.cfg.Socket)
	switch {
	case err == nil:
		s.upgradeIfOther(ctx, conn)
		return conn, nil
	case errors.Is(err, errdefs.ErrNotSupported): // it speaks another version of the protocol
		if err := s.upgrade(ctx); err != nil {
			return nil, err
		}
		return client.Dial(ctx, s.cfg.Socket)
	case !errors.Is(err, errdefs.ErrUnavailable):
		return nil, err
	}
	pid, err := s.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the keeper %s: %w", s.cfg.Binary, err)
	}
	s.cfg.Logger.InfoContext(ctx, "keeper started", "pid", pid, "socket", s.cfg.Socket)
	return client.Dial(ctx, s.cfg.Socket)
}

// reap waits for the end of a keeper that is our child, so that it does not stay a zombie. The channel is closed when it
// is reaped, or when Close has stopped the wait.
func (s *Supervisor) reap(child fork.Child) <-chan struct{} {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.mu.Lock()
	s.stop = append(s.stop, stop)
	s.mu.Unlock()
	s.reapers.Go(func() {
		defer close(done)
		err := sys.AwaitPidfd(ctx, child.Pidfd)
		if err == nil {
			err = s.collect(child)
		}
		if err := errors.Join(err, child.Pidfd.Close()); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("reap the keeper", "pid", child.PID, "error", err)
		}
	})
	return done
}

func (s *Supervisor) collect(child fork.Child) error {
	raw, err := sys.RawDup(child.Pidfd)
	if err != nil {
		return err
	}
	exit, _, err := sys.ReapPidfd(raw)
	s.cfg.Logger.Warn("keeper ended", "pid", child.PID, "status", exit.Status, "signal", int(exit.Signal))
	return errors.Join(err, raw.Close())
}
