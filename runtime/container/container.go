package container

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/fork"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/prepare"
	"github.com/berth-runtime/berth/runtime/resctrl"
)

// container is one container. Its states: created → running → stopped, with nothing in between that others could see: a
// start that fails makes it stopped.
type container struct {
	id     string
	group  *cgroup.Group // nil if only the ID is known
	turn   chan struct{} // held by whoever starts or deletes it
	exited chan struct{} // closed when exit is set

	mu        sync.Mutex
	status    Status
	start     *startFiles // while created
	pidfd     *os.File    // from the start on, until it is deleted
	master    *os.File    // our duplicate of a terminal's master
	pid       int
	startedAt time.Time
	exit      client.Exit
	share     *resctrl.Group      // nil if it has none
	inherited plan.Inherited      // by its execs
	silent    bool                // its end is not put into Exits: Restore or Delete tell it
	seccomp   *specs.LinuxSeccomp // profile of what is exec'd in it

	annotations map[string]string // what a seccomp agent is told
}

// startFiles is all that a created container holds.
type startFiles struct {
	prepared *prepare.Prepared
	program  *fork.Program // nil until it is written
	flags    uint64
	pidns    *os.File
	cgroup   *os.File
	managed  client.Managed
}

// write makes the program, if that is not done yet.
func (s *startFiles) write() (err error) {
	if s.program == nil {
		s.program, err = s.prepared.Program()
	}
	return err
}

// Close closes what a start has used, or will not use any more.
func (s *startFiles) Close() error {
	errs := []error{s.prepared.Close()}
	if s.program != nil {
		errs = append(errs, s.program.Close())
	}
	return errors.Join(append(errs, closeAll([]*os.File{s.pidns, s.cgroup}), closeAll(s.managed.Client[:]))...)
}

// closeAll closes those that are not nil.
func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

func newContainer(id string, group *cgroup.Group, status Status) *container {
	return &container{id: id, group: group, status: status, turn: make(chan struct{}, 1), exited: make(chan struct{})}
}

// take waits for the container's turn; the result gives it back.
func (c *container) take(ctx context.Context) (giveBack func(), err error) {
	select {
	case c.turn <- struct{}{}:
		return func() { <-c.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// finish notes the end, once, and tells whether it was this call that did, and whether Exits shall have it.
func (c *container) finish(exit client.Exit) (first, silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == StatusStopped {
		return false, true
	}
	c.status, c.exit = StatusStopped, exit
	close(c.exited)
	return true, c.silent
}

func (c *container) state() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Status: c.status, StartedAt: c.startedAt}
	switch c.status {
	case StatusRunning:
		s.PID = c.pid
	case StatusStopped:
		s.Exit = c.exit
	}
	return s
}

// running returns the process of a container that runs. Its pidfd stays the container's.
func (c *container) running() (pid int, pidfd *os.File, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status != StatusRunning || c.pidfd == nil {
		return 0, nil, errdefs.FailedPrecondition("container %s is not running (%s)", c.id, c.status)
	}
	return c.pid, c.pidfd, nil
}

// profile returns the seccomp profile that the container's processes live under.
func (c *container) profile() *specs.LinuxSeccomp {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seccomp
}

func (c *container) closeFiles() error {
	c.mu.Lock()
	start, pidfd, master := c.start, c.pidfd, c.master
	c.start, c.pidfd, c.master = nil, nil, nil
	c.mu.Unlock()
	var errs []error
	if start != nil {
		errs = append(errs, start.Close())
	}
	for _, f := range []*os.File{pidfd, master} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
