package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// waitTurn waits until a host that asked for patience may be asked again. Longer than MaxWait is a failure at once, so
// that a mirror can have a go.
func (c *Client) waitTurn(ctx context.Context, addr string) error {
	c.mu.Lock()
	wait := time.Until(c.notBefore[addr])
	if wait <= 0 {
		delete(c.notBefore, addr)
	}
	c.mu.Unlock()
	if wait > c.timing.MaxWait {
		f := &failure{text: fmt.Sprintf("429 too many requests: it asks to be left alone for another %s", wait.Round(time.Second))}
		f.kind, _ = statusKind(429)
		return f
	}
	// Others wait for the same moment; spread out, they don't arrive in lockstep.
	return pause(ctx, wait+jitter(wait/4))
}

// notedWait keeps a Retry-After for all pulls from the host.
func (c *Client) notedWait(addr string, f *failure) {
	if f.retryAfter <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := time.Now().Add(f.retryAfter); until.After(c.notBefore[addr]) {
		c.notBefore[addr] = until
	}
}

func (c *Client) knownScheme(addr string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.schemes[addr]
}

func (c *Client) learnScheme(addr, scheme string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.schemes[addr] = scheme
}

// retry calls try, each time when the host may be asked, until it succeeds, fails for good, or used up the attempts.
func (c *Client) retry(ctx context.Context, addr string, try func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := c.waitTurn(ctx, addr)
		if err == nil {
			err = try(ctx)
		}
		if err == nil {
			return nil
		}
		f, ok := errors.AsType[*failure](err)
		if !ok || !f.transient || attempt >= c.timing.Attempts || f.retryAfter > c.timing.MaxWait {
			return err
		}
		if err := pause(ctx, c.backoff(attempt)); err != nil {
			return err
		}
	}
}

// backoff doubles with each attempt, with full jitter in its upper half.
func (c *Client) backoff(attempt int) time.Duration {
	d := min(c.timing.Backoff<<min(attempt-1, 10), c.timing.MaxWait)
	return d/2 + jitter(d/2)
}

func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
