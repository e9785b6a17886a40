package link

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// dumpTries bounds how often a listing is asked for again.
const dumpTries = 1000

// dump asks for a listing until the kernel gives one that nothing changed meanwhile (NLM_F_DUMP_INTR): with pods coming and going,
// others' changes interrupt it all the time.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	for range dumpTries - 1 {
		if all, err := list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return list()
}

// listAddrs lists the addresses of a link.
func listAddrs(h *netlink.Handle, l netlink.Link, family int) ([]netlink.Addr, error) {
	return dump(func() ([]netlink.Addr, error) { return h.AddrList(l, family) })
}

// listRoutes lists routes that match a filter.
func listRoutes(h *netlink.Handle, family int, filter *netlink.Route, mask uint64) ([]netlink.Route, error) {
	return dump(func() ([]netlink.Route, error) { return h.RouteListFiltered(family, filter, mask) })
}

// Addrs lists all addresses of a link.
func Addrs(h *netlink.Handle, l netlink.Link) ([]netlink.Addr, error) {
	return listAddrs(h, l, netlink.FAMILY_ALL)
}
