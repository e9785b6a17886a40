package netdev

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Move moves devices from this process's network namespace into another. After an error all are back where they were, with
// their addresses. The result does the same later: for a container that comes to nothing.
func Move(ns *os.File, list []Device) (undo func() error, err error) {
	m := &mover{ns: ns}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(m.close)
	if m.host, err = open(nil); err != nil {
		return nil, err
	}
	if m.inside, err = open(ns); err != nil {
		return nil, err
	}
	cu.Add(m.back)
	for _, d := range list {
		if err := m.move(d); err != nil {
			return nil, fmt.Errorf("move network device %s: %w", d.Name, err)
		}
	}
	cu.Release()
	return m.undo, m.close()
}

// mover moves devices and remembers how they were.
type mover struct {
	ns           *os.File
	host, inside *netlink.Handle
	moved        []before
}

// before is a device as it was on the host.
type before struct {
	name  string
	now   string // its name in the container
	up    bool
	addrs []netlink.Addr
}

func (m *mover) close() error {
	for _, h := range []*netlink.Handle{m.host, m.inside} {
		if h != nil {
			h.Close()
		}
	}
	m.host, m.inside = nil, nil
	return nil
}

func (m *mover) move(d Device) error {
	link, err := m.host.LinkByName(d.Name)
	if err != nil {
		return notFound(err)
	}
	if !d.Pattern() {
		if err := m.free(d.As); err != nil {
			return err
		}
	}
	was := before{name: d.Name, now: passingName(), up: link.Attrs().Flags&net.FlagUp != 0}
	if was.addrs, err = permanent(m.host, link); err != nil {
		return err
	}
	if err := send(link, m.ns, was.now); err != nil {
		return err
	}
	m.moved = append(m.moved, was)
	now := &m.moved[len(m.moved)-1].now
	if link, err = m.inside.LinkByName(*now); err != nil {
		return err
	}
	if err := m.inside.LinkSetName(link, d.As); err != nil {
		return fmt.Errorf("name it %s: %w", d.As, err)
	}
	if link, err = m.inside.LinkByIndex(link.Attrs().Index); err != nil {
		return err
	}
	*now = link.Attrs().Name
	return settle(m.inside, link, was.addrs, true)
}

// undo moves back what was moved, the last one first.
func (m *mover) undo() (err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	cu.Add(m.close)
	if m.host, err = open(nil); err != nil {
		return err
	}
	if m.inside, err = open(m.ns); err != nil {
		return err
	}
	return m.back()
}

func (m *mover) back() error {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	errs := []error{}
	for _, was := range slices.Backward(m.moved) {
		if err := m.backOne(was, own); err != nil {
			errs = append(errs, fmt.Errorf("move network device %s back: %w", was.name, err))
		}
	}
	m.moved = nil
	return errors.Join(append(errs, own.Close())...)
}

func (m *mover) backOne(was before, own *os.File) error {
	link, err := m.inside.LinkByName(was.now)
	if err != nil {
		return err
	}
	name := passingName()
	if err := m.inside.LinkSetDown(link); err != nil { // one that is up can't be renamed
		return err
	}
	if err := m.inside.LinkSetName(link, name); err != nil {
		return err
	}
	if err := m.inside.LinkSetNsFd(link, int(own.Fd())); err != nil {
		return err
	}
	if link, err = m.host.LinkByName(name); err != nil {
		return err
	}
	if err := m.host.LinkSetName(link, was.name); err != nil {
		return err
	}
	return settle(m.host, link, was.addrs, was.up)
}

// passingName is one that no device has, on either side: both the old and the new name may be taken on the other one.
func passingName() string { return "berth" + rand.Text()[:10] }

// free refuses a name that is taken in the container: the kernel would find out when the device is there already.
func (m *mover) free(name string) error {
	_, err := m.inside.LinkByName(name)
	switch {
	case err == nil:
		return errdefs.Exists("the container's network namespace has a device %s already", name)
	case errors.As(err, &netlink.LinkNotFoundError{}):
		return nil
	}
	return err
}

// send moves a device and names it, in one message, so that it never shows up on the host under another name. The kernel
// sets it down, and its addresses and routes are gone.
func send(link netlink.Link, ns *os.File, name string) error {
	req := nl.NewNetlinkRequest(syscall.RTM_SETLINK, syscall.NLM_F_ACK)
	msg := nl.NewIfInfomsg(syscall.AF_UNSPEC)
	msg.Index = int32(link.Attrs().Index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(iflaNetNSFD, nl.Uint32Attr(uint32(ns.Fd()))))
	req.AddData(nl.NewRtAttr(syscall.IFLA_IFNAME, nl.ZeroTerminated(name)))
	_, err := req.Execute(syscall.NETLINK_ROUTE, 0)
	return err
}

func notFound(err error) error {
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return errdefs.NotFound("there is no such device on the host")
	}
	return err
}

const (
	ifaPermanent = 0x80 // IFA_F_PERMANENT of linux/if_addr.h
	ifaTentative = 0x40
	iflaNetNSFD  = 28 // IFLA_NET_NS_FD of linux/if_link.h
)

// dumpTries bounds how often addresses are asked for: each change anywhere in the namespace spoils a list that is being given.
const dumpTries = 1000

// permanent returns the addresses that go with a device: those that somebody gave it for good, valid everywhere.
func permanent(h *netlink.Handle, link netlink.Link) ([]netlink.Addr, error) {
	all, err := h.AddrList(link, netlink.FAMILY_ALL)
	for tries := 1; tries < dumpTries && errors.Is(err, netlink.ErrDumpInterrupted); tries++ {
		all, err = h.AddrList(link, netlink.FAMILY_ALL)
	}
	if err != nil {
		return nil, fmt.Errorf("list its addresses: %w", err)
	}
	var kept []netlink.Addr
	for _, a := range all {
		if a.Flags&ifaPermanent == 0 || a.Scope != int(netlink.SCOPE_UNIVERSE) {
			continue
		}
		// A label is of the old name, and lifetimes of permanent addresses are none.
		kept = append(kept, netlink.Addr{
			IPNet: a.IPNet, Peer: a.Peer, Broadcast: a.Broadcast, Scope: a.Scope, Flags: a.Flags &^ (ifaPermanent | ifaTentative),
		})
	}
	return kept, nil
}

// settle gives a device its addresses and its state.
func settle(h *netlink.Handle, link netlink.Link, addrs []netlink.Addr, up bool) error {
	for _, a := range addrs {
		if err := h.AddrAdd(link, &a); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("add address %s: %w", a.IPNet, err)
		}
	}
	if !up {
		return nil
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set it up: %w", err)
	}
	return nil
}
