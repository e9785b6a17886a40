package systemd

import (
	"context"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// StartScope makes a scope with one process in it and returns when its control group is there. systemd takes no scope
// without a process, and ends one whose last process leaves. The group is delegated: systemd leaves alone what is made
// below it (Delegate=, systemd.resource-control(5)).
//
// ErrExists if a unit of that name is in use; one that has failed is cleared away.
func (c *Client) StartScope(ctx context.Context, u Unit, description string, pid int, props []Property) error {
	all := append([]Property{
		{Name: "Description", Value: description},
		{Name: "Slice", Value: u.Slice},
		{Name: "Delegate", Value: true},
		{Name: "DefaultDependencies", Value: false}, // or it would be stopped, at shutdown, before what orders itself after it
		{Name: "PIDs", Value: []uint32{uint32(pid)}},
		{Name: "CPUAccounting", Value: true},
		{Name: "MemoryAccounting", Value: true},
		{Name: "TasksAccounting", Value: true},
		{Name: "IOAccounting", Value: true, Since: 230},
	}, props...)
	return c.start(ctx, u.Name, all)
}

// StartSlice makes a slice, which holds units and no processes. Where it is in the tree is in its name. ErrExists if it is
// there already.
func (c *Client) StartSlice(ctx context.Context, name, description string, props []Property) error {
	all := append([]Property{
		{Name: "Description", Value: description},
		{Name: "DefaultDependencies", Value: false},
		{Name: "CPUAccounting", Value: true},
		{Name: "MemoryAccounting", Value: true},
		{Name: "TasksAccounting", Value: true},
		{Name: "IOAccounting", Value: true, Since: 230},
	}, props...)
	return c.start(ctx, name, all)
}

func (c *Client) start(ctx context.Context, unit string, props []Property) error {
	return c.with(ctx, "start systemd unit "+unit, func(s session) error {
		known, err := s.known(ctx, props)
		if err != nil {
			return err
		}
		start := func() error {
			return s.job(ctx, managerName+".StartTransientUnit", unit, "replace", known, []aux{})
		}
		err = start()
		if named(err, "UnitExists") {
			if s.manager.CallWithContext(ctx, managerName+".ResetFailedUnit", 0, unit).Err != nil {
				return err
			}
			err = start()
		}
		return err
	})
}

// aux is D-Bus's (sa(sv)): further units of the same call.
type aux struct {
	Name  string
	Props []variant
}

// SetProperties changes a unit until the next boot.
func (c *Client) SetProperties(ctx context.Context, unit string, props []Property) error {
	if len(props) == 0 {
		return nil
	}
	return c.with(ctx, "set properties of systemd unit "+unit, func(s session) error {
		known, err := s.known(ctx, props)
		if err != nil || len(known) == 0 {
			return err
		}
		return s.manager.CallWithContext(ctx, managerName+".SetUnitProperties", 0, unit, true, known).Err
	})
}

// StopUnit ends a unit, with all its processes, and forgets it. One that is not there is fine.
func (c *Client) StopUnit(ctx context.Context, unit string) error {
	err := c.with(ctx, "stop systemd unit "+unit, func(s session) error {
		err := s.job(ctx, managerName+".StopUnit", unit, "replace")
		// A unit that failed is kept for people to look at; nobody looks at a container's.
		reset := s.manager.CallWithContext(ctx, managerName+".ResetFailedUnit", 0, unit).Err
		if err == nil && !named(reset, "NoSuchUnit") {
			err = reset
		}
		return err
	})
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	return err
}

// job calls a method that begins a job, and waits for the job's end (signal JobRemoved).
func (s session) job(ctx context.Context, method string, args ...any) error {
	signals := make(chan *dbus.Signal, 64)
	s.conn.Signal(signals)
	defer s.conn.RemoveSignal(signals)
	if s.bus { // the private socket's peer is the manager itself, which sends signals to those that subscribe
		if err := s.conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(managerName), dbus.WithMatchMember("JobRemoved")); err != nil {
			return fmt.Errorf("ask the message bus for signals: %w", err)
		}
	}
	if err := s.manager.CallWithContext(ctx, managerName+".Subscribe", 0).Err; err != nil && !named(err, "AlreadySubscribed") {
		return fmt.Errorf("subscribe to signals: %w", err)
	}
	var job dbus.ObjectPath
	if err := s.manager.CallWithContext(ctx, method, 0, args...).Store(&job); err != nil {
		return err
	}
	for {
		select {
		case signal, ok := <-signals:
			if !ok {
				return errdefs.Unavailable("systemd hung up")
			}
			if result, mine := jobResult(signal, job); mine {
				return result
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for systemd: %w", ctx.Err())
		}
	}
}

// jobResult reads JobRemoved(u id, o job, s unit, s result).
func jobResult(signal *dbus.Signal, job dbus.ObjectPath) (err error, mine bool) {
	if signal.Name != managerName+".JobRemoved" || len(signal.Body) != 4 || signal.Body[1] != job {
		return nil, false
	}
	if result, _ := signal.Body[3].(string); result != "done" {
		return errdefs.FailedPrecondition("systemd's job ended as %q", result), true
	}
	return nil, true
}
