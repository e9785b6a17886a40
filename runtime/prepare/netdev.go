package prepare

import (
	"errors"
	"os"

	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/netdev"
	"github.com/berth-runtime/berth/runtime/plan"
)

// movedDevices are the host's network devices that a container was given, until it is made for good. What becomes of them
// later is up to their namespace (see package netdev).
type movedDevices struct {
	undo func() error // nil if there are none
	ns   *os.File     // what undo needs: the program may have closed its own
}

// take moves the devices of a plan into a network namespace.
func (m *movedDevices) take(p *plan.Plan, ns plan.Namespace, f *os.File) error {
	if ns.Path != "" {
		if err := notOwn(ns, f); err != nil {
			return err
		}
	}
	kept, err := sys.Dup(f)
	if err != nil {
		return err
	}
	undo, err := netdev.Move(kept, p.NetDevices)
	if err != nil {
		return joinClose(err, kept)
	}
	m.undo, m.ns = undo, kept
	return nil
}

// GiveBack moves the host's network devices back: for a container that comes to nothing, before Settle.
func (pr *Prepared) GiveBack() error { return pr.moved.giveBack() }

// Settle leaves them in the container, for good.
func (pr *Prepared) Settle() error { return pr.moved.stay() }

func (m *movedDevices) giveBack() error {
	if m.undo == nil {
		return nil
	}
	err := m.undo()
	return errors.Join(err, m.stay())
}

func (m *movedDevices) stay() error {
	if m.undo == nil {
		return nil
	}
	m.undo = nil
	return m.ns.Close()
}
