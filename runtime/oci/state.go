package oci

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/cgroup"
)

// State is what is told of a container: the spec's state with what runc adds.
type State struct {
	OCIVersion  string            `json:"ociVersion"`
	ID          string            `json:"id"`
	PID         int               `json:"pid"` // 0 if it is stopped
	Status      Status            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

// State returns the state of a container; ErrNotFound if there is none of that name.
func (r *Runtime) State(id string) (State, error) {
	c, err := r.load(id)
	if err != nil {
		return State{}, err
	}
	return c.state()
}

func (c *container) state() (State, error) {
	status, pidfd, err := c.status()
	if err != nil {
		return State{}, err
	}
	s := State{
		OCIVersion: c.rec.OCIVersion, ID: c.rec.ID, Status: status, Bundle: c.rec.Bundle, Rootfs: c.rec.Rootfs,
		Created: c.rec.Created, Annotations: c.rec.Annotations, Owner: "root",
	}
	if pidfd == nil {
		return s, nil
	}
	s.PID = c.rec.PID
	return s, pidfd.Close()
}

// hookState is the state as hooks and console managers get it.
func (c *container) hookState(status specs.ContainerState) specs.State {
	pid := c.rec.PID
	if status == specs.StateStopped {
		pid = 0
	}
	return specs.State{
		Version: c.rec.OCIVersion, ID: c.rec.ID, Status: status, Pid: pid, Bundle: c.rec.Bundle, Annotations: c.rec.Annotations,
	}
}

// List returns all containers, sorted by ID. Those that can't be read are in the error.
func (r *Runtime) List() ([]State, error) {
	entries, err := os.ReadDir(r.cfg.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []State
	var errs []error
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		s, err := r.State(e.Name())
		switch {
		case errors.Is(err, errdefs.ErrNotFound): // removed meanwhile, or half made
		case err != nil:
			errs = append(errs, err)
		default:
			list = append(list, s)
		}
	}
	return list, errors.Join(errs...)
}

// frozen tells whether the control group is. One that is gone is not.
func (c *container) frozen() (frozen bool, err error) {
	err = c.withGroup(func(g *cgroup.Group) error {
		frozen, err = g.Frozen()
		return err
	})
	if errors.Is(err, errdefs.ErrNotFound) {
		return false, nil
	}
	return frozen, err
}
