package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Shape is a limit for what goes to or comes from some peers only: those in the subnets of Only, or, if that is empty, all but those
// of Except.
type Shape struct {
	Limit
	Only, Except []netip.Prefix
}

// subnets are those that filters look for, and whether what they match is limited.
func (s Shape) subnets() (list []netip.Prefix, limited bool) {
	if len(s.Only) > 0 {
		return s.Only, true
	}
	return s.Except, false
}

// Handles of the queues that ShapeSent and Divert make.
const (
	rootHandle    = 1 << 16      // 1:0
	limitedClass  = 1<<16 | 1    // 1:1
	ingressHandle = 0xffff << 16 // ffff:0
)

// ShapeSent limits what a link sends to the container behind it, by where it comes from. What was limited before is so no longer.
func ShapeSent(h *netlink.Handle, l netlink.Link, s Shape) error {
	if err := StopShaping(h, l); err != nil || s.Rate == 0 {
		return err
	}
	if list, _ := s.subnets(); len(list) == 0 {
		return SetLimit(h, l, s.Limit)
	}
	// The token bucket knows no filters. HTB has a class with the limit, and sends past it what no filter puts there.
	index := l.Attrs().Index
	rate, burst := s.Rate/8, s.Burst/8
	buffer := uint32(min(ticks(burst, rate), math.MaxUint32))
	err := h.QdiscAdd(netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: index, Handle: rootHandle, Parent: netlink.HANDLE_ROOT}))
	if err == nil {
		err = h.ClassAdd(&netlink.HtbClass{
			ClassAttrs: netlink.ClassAttrs{LinkIndex: index, Handle: limitedClass, Parent: rootHandle},
			Rate:       rate, Ceil: rate, Buffer: buffer, Cbuffer: buffer,
		})
	}
	if err == nil {
		err = addByteQueue(index, limitedClass, s.queue())
	}
	for _, f := range matches(index, rootHandle, s, source()) {
		if err == nil {
			err = h.FilterAdd(f)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("limit %s to %d bit/s: %w", l.Attrs().Name, s.Rate, err), StopShaping(h, l))
	}
	return nil
}

// addByteQueue bounds how much waits in a class, in bytes (bfifo): by itself it has room for as many packets as the link's queue. The socket
// is a fresh one of the caller's namespace.
func addByteQueue(index int, class, limit uint32) error {
	req := nl.NewNetlinkRequest(syscall.RTM_NEWQDISC, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL|syscall.NLM_F_ACK)
	req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(index), Parent: class})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("bfifo")))
	req.AddData(nl.NewRtAttr(nl.TCA_OPTIONS, nl.Uint32Attr(limit)))
	_, err := req.Execute(syscall.NETLINK_ROUTE, 0)
	return err
}

// Divert sends what a link receives, by where it goes to, through another one, which limits it and gives it back.
func Divert(h *netlink.Handle, l, through netlink.Link, s Shape) error {
	if err := StopDiverting(h, l); err != nil {
		return err
	}
	index := l.Attrs().Index
	err := h.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: ingressHandle, Parent: netlink.HANDLE_INGRESS}})
	for _, f := range matches(index, ingressHandle, s, destination()) {
		if f.ClassId == limitedClass {
			f.RedirIndex = through.Attrs().Index // without it the packet goes on as it is
		}
		if err == nil {
			err = h.FilterAdd(f)
		}
	}
	if err == nil {
		err = SetLimit(h, through, s.Limit)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("limit what %s receives to %d bit/s: %w", l.Attrs().Name, s.Rate, err), StopDiverting(h, l))
	}
	return nil
}

// matches are filters, first those of subnets, that put packets into the class with the limit, or past it (class 0 of the parent). With
// subnets, what is not IP is never limited: unlimited peers must be found by ARP. Nor are, with Except, IPv6's messages to all on the link.
func matches(index int, parent uint32, s Shape, end field) []*netlink.U32 {
	class := func(limited bool) uint32 {
		if limited {
			return limitedClass
		}
		return rootHandle
	}
	list, limited := s.subnets()
	var filters []*netlink.U32
	for _, subnet := range list {
		filters = append(filters, match(index, parent, subnet, end, class(limited), 0))
	}
	if limited {
		return filters
	}
	if len(list) == 0 {
		all := netlink.FilterAttrs{LinkIndex: index, Parent: parent, Priority: 1, Protocol: syscall.ETH_P_ALL}
		return []*netlink.U32{{FilterAttrs: all, ClassId: limitedClass}}
	}
	return append(filters,
		match(index, parent, netip.MustParsePrefix("ff02::/16"), destination(), rootHandle, 0),
		match(index, parent, netip.MustParsePrefix("0.0.0.0/0"), end, limitedClass, 2),
		match(index, parent, netip.MustParsePrefix("::/0"), end, limitedClass, 2))
}

// field is an address in the header of a packet, by its offsets in IPv4 and IPv6.
type field struct{ v4, v6 int32 }

func source() field      { return field{v4: 12, v6: 8} }
func destination() field { return field{v4: 16, v6: 24} }

// match is a filter for packets with an address of a subnet. Each family needs a priority of its own; after moves them behind others.
func match(index int, parent uint32, subnet netip.Prefix, end field, class uint32, after uint16) *netlink.U32 {
	f := &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: parent, Priority: 1 + after, Protocol: syscall.ETH_P_IP},
		ClassId:     class,
	}
	offset := end.v4
	if subnet.Addr().Is6() {
		f.Priority, f.Protocol, offset = 2+after, syscall.ETH_P_IPV6, end.v6
	}
	f.Sel = &netlink.TcU32Sel{Flags: netlink.TC_U32_TERMINAL, Keys: matchKeys(subnet, offset)}
	return f
}

// matchKeys compares an address in steps of four bytes, the last one perhaps in part.
func matchKeys(subnet netip.Prefix, offset int32) []netlink.TcU32Key {
	addr, keys := subnet.Masked().Addr().AsSlice(), []netlink.TcU32Key{}
	for i := 0; i*8 < max(subnet.Bits(), 1); i += 4 {
		bits := min(subnet.Bits()-i*8, 32)
		keys = append(keys, netlink.TcU32Key{
			Mask: uint32(math.MaxUint32 << (32 - bits)), Val: binary.BigEndian.Uint32(addr[i:]), Off: offset + int32(i),
		})
	}
	return slices.Clip(keys)
}

// StopShaping takes away the limit of what a link sends.
func StopShaping(h *netlink.Handle, l netlink.Link) error {
	return stop(h, l, netlink.HANDLE_ROOT, func(q netlink.Qdisc) bool {
		_, tbf := q.(*netlink.Tbf)
		_, htb := q.(*netlink.Htb)
		return (tbf || htb) && q.Attrs().Handle == rootHandle
	})
}

// StopDiverting lets a link receive without a detour.
func StopDiverting(h *netlink.Handle, l netlink.Link) error {
	return stop(h, l, netlink.HANDLE_INGRESS, func(q netlink.Qdisc) bool { _, ok := q.(*netlink.Ingress); return ok })
}

func stop(h *netlink.Handle, l netlink.Link, parent uint32, ours func(netlink.Qdisc) bool) error {
	list, err := queues(h, l)
	if err != nil {
		return err
	}
	for _, q := range list {
		if q.Attrs().Parent != parent || !ours(q) {
			continue
		}
		if err := h.QdiscDel(q); err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENODEV) {
			return fmt.Errorf("take the limit off %s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}

func queues(h *netlink.Handle, l netlink.Link) ([]netlink.Qdisc, error) {
	list, err := dump(func() ([]netlink.Qdisc, error) { return h.QdiscList(l) })
	if err != nil {
		return nil, fmt.Errorf("list queues of %s: %w", l.Attrs().Name, err)
	}
	return list, nil
}

// HasShapeSent tells whether ShapeSent's work is still there.
func HasShapeSent(h *netlink.Handle, l netlink.Link, s Shape) (bool, error) {
	list, _ := s.subnets()
	if s.Rate == 0 || len(list) == 0 {
		return HasLimit(h, l, s.Limit)
	}
	classes, err := dump(func() ([]netlink.Class, error) { return h.ClassList(l, rootHandle) })
	if err != nil {
		return false, fmt.Errorf("list classes of %s: %w", l.Attrs().Name, err)
	}
	found := slices.ContainsFunc(classes, func(c netlink.Class) bool {
		htb, ok := c.(*netlink.HtbClass)
		return ok && htb.Handle == limitedClass && htb.Rate == s.Rate/8
	})
	filters, err := filters(h, l, rootHandle)
	return found && len(filters) == len(matches(0, rootHandle, s, source())), err
}

// HasDiverted tells whether Divert's work is still there.
func HasDiverted(h *netlink.Handle, l, through netlink.Link, s Shape) (bool, error) {
	found, err := filters(h, l, ingressHandle)
	if err != nil || len(found) != len(matches(0, ingressHandle, s, destination())) {
		return false, err
	}
	for _, f := range found {
		if f.RedirIndex != 0 && f.RedirIndex != through.Attrs().Index {
			return false, nil
		}
	}
	return HasLimit(h, through, s.Limit)
}

// filters lists filters with a match, of which each table of the kernel has one more, which is its root.
func filters(h *netlink.Handle, l netlink.Link, parent uint32) ([]*netlink.U32, error) {
	all, err := dump(func() ([]netlink.Filter, error) { return h.FilterList(l, parent) })
	if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) { // no such parent
		return nil, fmt.Errorf("list filters of %s: %w", l.Attrs().Name, err)
	}
	var list []*netlink.U32
	for _, f := range all {
		if u, ok := f.(*netlink.U32); ok && u.Sel != nil && len(u.Sel.Keys) > 0 {
			list = append(list, u)
		}
	}
	return list, nil
}

// HostEnd finds the host's end of a container's veth pair. A link of another kind gives ErrInvalid.
func HostEnd(host, container *netlink.Handle, name string) (netlink.Link, error) {
	end, err := find(container, name)
	if err != nil {
		return nil, err
	}
	if end.Type() != "veth" {
		return nil, errdefs.Invalid("interface %s is a %s, not one end of a veth pair: no link of the host leads to it", name, end.Type())
	}
	l, err := host.LinkByIndex(end.Attrs().ParentIndex)
	if errors.As(err, new(netlink.LinkNotFoundError)) || err == nil && (l.Type() != "veth" || l.Attrs().ParentIndex != end.Attrs().Index) {
		return nil, errdefs.Invalid("the other end of interface %s is not in the host's network namespace", name)
	}
	if err != nil {
		return nil, fmt.Errorf("look for the other end of interface %s: %w", name, err)
	}
	return l, nil
}
