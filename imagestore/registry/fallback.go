package registry

import (
	"context"
	"errors"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// refusals tells what each host answered. The last host is the registry itself, so its answer gives the kind.
type refusals struct {
	who []*endpoint
	err []error
}

func (r *refusals) add(e *endpoint, err error) { r.who, r.err = append(r.who, e), append(r.err, err) }

// Error lists host and cause: a mirror that fails silently costs its owner an afternoon.
func (r *refusals) Error() string {
	var lines []string
	for i, e := range r.who {
		lines = append(lines, e.String()+": "+r.err[i].Error())
	}
	return strings.Join(lines, "; then ")
}

func (r *refusals) Unwrap() error { return r.err[len(r.err)-1] }

// each asks the hosts in order until one delivers, with retries at each.
func (s *Session) each(ctx context.Context, usable func(*endpoint) bool, try func(context.Context, *endpoint) error) (*endpoint, error) {
	var tried refusals
	for _, e := range s.endpoints {
		if !usable(e) {
			continue
		}
		err := s.client.retry(ctx, e.host.Addr, func(ctx context.Context) error { return try(ctx, e) })
		if err == nil {
			return e, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if _, ok := errors.AsType[*failure](err); !ok {
			return nil, err
		}
		tried.add(e, err)
	}
	if len(tried.err) == 0 {
		return nil, errNoHost(s.ref.Domain)
	}
	return nil, &tried
}

func canResolve(e *endpoint) bool { return e.host.Resolve }
func canPull(e *endpoint) bool    { return e.host.Pull }

func errNoHost(registry string) error {
	return errdefs.FailedPrecondition("no host of %s has the capability for this in hosts.toml", registry)
}
