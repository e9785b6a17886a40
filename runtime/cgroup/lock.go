package cgroup

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Lock takes the group for this process until the result is closed, or the process ends. It is an advisory lock on the
// group's folder, so it reaches across network and mount namespaces, and keeps nobody from the group who does not ask.
// Where another process has it the error is ErrFailedPrecondition.
func (g *Group) Lock() (io.Closer, error) {
	d, err := g.open(g.host.tracker)
	if err != nil {
		return nil, err
	}
	err = d.Lock()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errdefs.FailedPrecondition("lock cgroup %s: another process has it", g.Path())
	} else if err != nil {
		err = fmt.Errorf("lock cgroup %s: %w", g.Path(), err)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}
