package pod

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// call is one run of an operation, which any number of callers wait for.
type call struct {
	done chan struct{}
	err  error // set before done is closed
}

func newCall() *call { return &call{done: make(chan struct{})} }

func finished(err error) *call {
	c := newCall()
	c.finish(err)
	return c
}

func errClosed() error { return errdefs.Unavailable("berthd is shutting down") }

func (c *call) finish(err error) {
	c.err = err
	close(c.done)
}

// failed says whether the operation is over and was of no use.
func (c *call) failed() bool {
	select {
	case <-c.done:
		return c.err != nil
	default:
		return false
	}
}

// wait returns what the operation returned. A caller that gives up does not end it.
func (c *call) wait(ctx context.Context, what string) error {
	select {
	case <-c.done:
		return c.err
	default:
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return fmt.Errorf("%s is still under way; the same request joins it: %w", what, ctx.Err())
	}
}

// job is an operation on one object that is repeated until it succeeds. Manager.mu guards it.
type job struct {
	running  *call
	failures int
	retry    *time.Timer // of the next attempt; nil if none is due
	within   *job        // a larger operation that runs this one too, nil if there is none
}

// repeatedLocked says whether the larger operation is going to run this one again: two timers for one thing would come twice as
// often as they should.
func (j *job) repeatedLocked() bool {
	return j.within != nil && (j.within.running != nil || j.within.retry != nil)
}

const (
	retryFirst = time.Second
	retryMost  = time.Minute
)

// backoff is how long to wait after so many failures in a row.
func backoff(failures int) time.Duration {
	d := retryFirst
	for range failures - 1 {
		d = min(2*d, retryMost)
	}
	return d
}

// runJob joins the attempt that is under way, or starts one. A failed one is repeated later, also if nobody asks.
func (m *Manager) runJob(j *job, what string, attempt func(ctx context.Context) error) *call {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j.running != nil {
		return j.running
	}
	if m.closed {
		return finished(errClosed())
	}
	if j.retry != nil {
		j.retry.Stop()
		j.retry = nil
	}
	c := newCall()
	j.running = c
	m.goLocked(func(ctx context.Context) {
		err := attempt(ctx)
		m.mu.Lock()
		j.running = nil
		if err != nil && !j.repeatedLocked() {
			m.scheduleLocked(j, what, attempt)
		}
		m.mu.Unlock()
		c.finish(err)
	})
	return c
}

func (m *Manager) scheduleLocked(j *job, what string, attempt func(ctx context.Context) error) {
	j.failures++
	if m.closed {
		return
	}
	delay := backoff(j.failures)
	j.retry = time.AfterFunc(delay, func() {
		m.mu.Lock()
		closed := m.closed
		m.mu.Unlock()
		if closed {
			return
		}
		c := m.runJob(j, what, attempt)
		<-c.done
		if c.err != nil {
			m.log.Warn("clean-up failed, it will be tried again", "what", what, "err", c.err)
		}
	})
}

// goLocked runs f in the background with a context of its own: operations end when they are done, or after the manager's
// limit, and not when a client hangs up. Close ends and awaits them; after it nothing may be started.
func (m *Manager) goLocked(f func(ctx context.Context)) {
	m.background.Go(func() {
		ctx, cancel := m.limited()
		defer cancel()
		f(ctx)
	})
}

// limited returns a context that ends after the manager's limit, or when the manager closes.
func (m *Manager) limited() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), m.cfg.Limit)
	go func() {
		select {
		case <-m.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (j *job) cancel() {
	if j.retry != nil {
		j.retry.Stop()
		j.retry = nil
	}
}
