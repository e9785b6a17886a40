package ports

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/mdlayher/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// Numbers of sock_diag(7).
const (
	netlinkSockDiag   = 4
	sockDiagByFamily  = 20
	diagRequestSize   = 56 // struct inet_diag_req_v2
	diagMessageSize   = 72 // struct inet_diag_msg
	diagSkV6Only      = 11 // INET_DIAG_SKV6ONLY
	stateListen       = 10 // TCP_LISTEN
	stateUnconnected  = 7  // TCP_CLOSE, which is how UDP shows a socket without a peer
	diagOffsetSport   = 4
	diagOffsetAddress = 8
)

// listener is a socket of the node that takes packets for a port.
type listener struct {
	addr   netip.Addr
	port   uint16
	v6Only bool
}

// fewPorts is how many are asked for one by one, which the kernel answers faster than for all.
const fewPorts = 8

// checkListeners refuses ports at which a process of the node listens now: publishing would take its traffic away.
func checkListeners(ports []nft.Port) error {
	if len(ports) == 0 {
		return nil
	}
	conn, err := netlink.Dial(netlinkSockDiag, nil)
	if err != nil {
		return fmt.Errorf("open socket-diagnosis socket: %w", err)
	}
	defer conn.Close()
	type question struct {
		protocol nft.Protocol
		port     uint16 // 0 = all
	}
	asked := map[question][]nft.Port{}
	for _, p := range ports {
		q := question{protocol: p.Protocol}
		if len(ports) <= fewPorts {
			q.port = p.Host.Port()
		}
		asked[q] = append(asked[q], p)
	}
	for q, ports := range asked {
		list, err := listeners(conn, q.protocol, q.port)
		if err != nil {
			return fmt.Errorf("look for processes that listen at %s: %w", ports[0], err)
		}
		if err := refuseTaken(ports, list); err != nil {
			return err
		}
	}
	return nil
}

func refuseTaken(ports []nft.Port, list []listener) error {
	at := map[uint16][]listener{}
	for _, l := range list {
		at[l.port] = append(at[l.port], l)
	}
	for _, p := range ports {
		for _, l := range at[p.Host.Port()] {
			if l.takes(p) {
				return errdefs.Exists("publish host port %s: a process of this node listens at %s", p, netip.AddrPortFrom(l.addr, l.port))
			}
		}
	}
	return nil
}

// takes tells whether packets for the port could be the listener's. An IPv6 wildcard socket takes IPv4 too, unless it says no.
func (l listener) takes(p nft.Port) bool {
	host := p.Host.Addr()
	if to := p.Match.To; p.Match != (nft.Match{}) && !l.addr.IsUnspecified() && (l.addr.Less(to[0]) || to[1].Less(l.addr)) {
		return false
	}
	if l.addr.Is6() && l.addr.IsUnspecified() && host.Is4() {
		return !l.v6Only
	}
	return l.addr.Is4() == host.Is4() && (l.addr == host || l.addr.IsUnspecified() || host.IsUnspecified())
}

// listeners lists those of a port, or of all for 0.
func listeners(conn *netlink.Conn, protocol nft.Protocol, port uint16) ([]listener, error) {
	var list []listener
	for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
		answers, err := conn.Execute(netlink.Message{
			Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | netlink.Dump},
			Data:   diagRequest(family, protocol, port),
		})
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EINVAL) {
			continue // a kernel without diagnosis of this protocol
		}
		if err != nil {
			return nil, err
		}
		for _, m := range answers {
			if l, ok := decodeListener(m.Data, port); ok {
				list = append(list, l)
			}
		}
	}
	return list, nil
}

func diagRequest(family byte, protocol nft.Protocol, port uint16) []byte {
	states := uint32(1 << stateListen)
	if protocol == nft.UDP {
		states = 1 << stateUnconnected
	}
	b := make([]byte, diagRequestSize)
	b[0], b[1] = family, byte(protocol)
	binary.NativeEndian.PutUint32(b[4:], states)
	binary.BigEndian.PutUint16(b[8:], port)
	return b
}

func decodeListener(b []byte, port uint16) (listener, bool) {
	if len(b) < diagMessageSize {
		return listener{}, false
	}
	size := 4
	if b[0] == syscall.AF_INET6 {
		size = 16
	}
	addr, _ := netip.AddrFromSlice(b[diagOffsetAddress : diagOffsetAddress+size])
	l := listener{addr: addr.Unmap(), port: binary.BigEndian.Uint16(b[diagOffsetSport:])}
	if port != 0 && l.port != port {
		return listener{}, false
	}
	attrs, err := netlink.NewAttributeDecoder(b[diagMessageSize:])
	if err != nil {
		return l, true
	}
	for attrs.Next() {
		if attrs.Type() == diagSkV6Only {
			l.v6Only = attrs.Uint8() != 0
		}
	}
	return l, true
}
