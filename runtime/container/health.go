package container

import "github.com/berth-runtime/berth/internal/errdefs"

// Healthy says whether containers can be started now: ErrUnavailable while there is no keeper.
func (r *Runtime) Healthy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return errdefs.Unavailable("the runtime is closed")
	case r.conn == nil:
		return errdefs.Unavailable("the keeper is gone; another one is being started")
	}
	return nil
}
