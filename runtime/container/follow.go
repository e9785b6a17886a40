package container

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// follow hands out the keeper's events, and goes on with the next keeper when one dies.
func (r *Runtime) follow(ctx context.Context, conn *client.Client) {
	for {
		for e := range conn.Events() {
			r.ended(e.ID, e.Exit)
		}
		r.setConn(nil)
		r.logClose(ctx, conn.Close())
		if ctx.Err() != nil {
			return
		}
		r.cfg.Logger.WarnContext(ctx, "the keeper is gone; containers run on")
		if conn = r.reconnect(ctx); conn == nil {
			return
		}
	}
}

// reconnect returns a connection to a keeper that has been handed everything back; nil when ctx is over.
func (r *Runtime) reconnect(ctx context.Context) *client.Client {
	for {
		conn, err := r.successor(ctx)
		if err == nil {
			if r.offer(conn) {
				return conn
			}
			r.logClose(ctx, conn.Close())
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		r.cfg.Logger.ErrorContext(ctx, "keeper can't be reached: no container starts, and output stays where it is", "error", err)
		select {
		case <-time.After(retryTime):
		case <-ctx.Done():
			return nil
		}
	}
}

// successor returns a connection to a keeper that has everything back.
func (r *Runtime) successor(ctx context.Context) (*client.Client, error) {
	conn, err := r.cfg.Keeper.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := conn.Keep(r.holds); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := r.handBack(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// retryTime is the pause after a failed attempt to get a keeper: a binary that is missing may be back later.
const retryTime = time.Second

// offer makes the connection everybody's, unless the Runtime was closed meanwhile.
func (r *Runtime) offer(conn *client.Client) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.conn, r.gone = conn, make(chan struct{})
	close(r.connected)
	return true
}

// logClose reports an error of closing a connection, which closes itself when it is lost.
func (r *Runtime) logClose(ctx context.Context, err error) {
	if err != nil && !errors.Is(err, os.ErrClosed) {
		r.cfg.Logger.ErrorContext(ctx, "close the connection to the keeper", "error", err)
	}
}

// tracked is a process that this Runtime follows.
type tracked struct {
	id     string
	pidfd  *os.File
	master *os.File
}

// handBack gives a keeper what only we have kept, and learns of the ends that its predecessor did not tell.
func (r *Runtime) handBack(ctx context.Context, conn *client.Client) error {
	list, err := conn.List(ctx)
	if err != nil {
		return err
	}
	known := make(map[string]client.Process, len(list))
	for _, p := range list {
		known[p.ID] = p
	}
	for _, t := range r.living() {
		p, ok := known[t.id]
		switch {
		case ok && p.Exited && p.Exit.Known:
			r.ended(t.id, p.Exit)
		case ok:
			err := conn.Adopt(ctx, t.id, t.pidfd, t.master)
			if errors.Is(err, errdefs.ErrUnavailable) || ctx.Err() != nil {
				return err
			}
			if err != nil {
				r.cfg.Logger.ErrorContext(ctx, "keeper does not take a process back", "process", t.id, "error", err)
			}
		default:
			r.lost(ctx, t)
		}
	}
	return nil
}

// living lists the containers and execs whose end is not known.
func (r *Runtime) living() []tracked {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []tracked
	for _, c := range r.containers {
		c.mu.Lock()
		if c.status == StatusRunning && c.pidfd != nil {
			list = append(list, tracked{c.id, c.pidfd, c.master})
		}
		c.mu.Unlock()
	}
	for _, e := range r.execs {
		if e.pidfd != nil {
			list = append(list, tracked{e.id, e.pidfd, nil})
		}
	}
	return list
}

// lost takes care of a process that a new keeper knows nothing of: its journal is gone.
func (r *Runtime) lost(ctx context.Context, t tracked) {
	r.cfg.Logger.ErrorContext(ctx, "keeper has lost a process: its output goes nowhere, and its end is only seen from here", "process", t.id)
	r.tasks.Go(func() {
		if err := sys.AwaitPidfd(ctx, t.pidfd); err != nil {
			if ctx.Err() == nil {
				r.cfg.Logger.ErrorContext(ctx, "wait for a process", "process", t.id, "error", err)
			}
			return
		}
		exit := client.Exit{Code: unknownCode, At: time.Now(), Reason: "the keeper that started it died and its journal was lost"}
		if end, ok := sys.PidfdExitFile(t.pidfd); ok {
			exit = client.Exit{Code: end.Status, Signal: int(end.Signal), At: time.Now(), Known: true}
			if end.Signal != 0 {
				exit.Code = signalOffset + int(end.Signal)
			}
		}
		r.ended(t.id, exit)
	})
}

const signalOffset = 128

// ended notes the end of a process.
func (r *Runtime) ended(id string, exit client.Exit) {
	r.mu.Lock()
	c, e := r.containers[id], r.execs[id]
	r.mu.Unlock()
	switch {
	case c != nil:
		first, silent := c.finish(exit)
		if first && !silent {
			r.exits.Put(ExitEvent{ID: id, Exit: exit})
		}
		if err := r.holds.Drop(id); err != nil { // all of its output is in the log
			r.cfg.Logger.Error("close the stdio of a container", "container", id, "error", err)
		}
	case e != nil:
		e.finish(exit)
	case strings.Contains(id, execMark):
		r.sweep(id)
	}
}

// sweep makes the keeper forget an exec that nobody waits for: its caller died with a former daemon.
func (r *Runtime) sweep(id string) {
	r.background(func(ctx context.Context) {
		if err := r.forgetExec(ctx, id); err != nil {
			r.cfg.Logger.ErrorContext(ctx, "forget an exec", "process", id, "error", err)
		}
	})
}

// background runs what nobody waits for but Close, and nothing after it: the keeper's list and the control groups tell the
// next Runtime what is left to do.
func (r *Runtime) background(f func(context.Context)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
		defer cancel()
		f(ctx)
	})
}
