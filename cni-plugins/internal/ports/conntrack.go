package ports

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
)

// Numbers of linux/netfilter/nfnetlink_conntrack.h.
const (
	netlinkNetfilter = 12
	ctGet            = 1<<8 | 1 // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
	ctDelete         = 1<<8 | 2
	nfgenmsgSize     = 4

	ctaTupleOrig = 1
	ctaZone      = 18
	ctaFilter    = 25
	ctaIP        = 1 // CTA_TUPLE_IP
	ctaProto     = 2 // CTA_TUPLE_PROTO
	ctaIPv4Dst   = 2
	ctaIPv6Dst   = 4
	ctaProtoNum  = 1
	ctaDstPort   = 3

	ctaFilterOrig  = 1              // CTA_FILTER_ORIG_FLAGS
	filterProtocol = 1 << 3         // CTA_FILTER_FLAG_CTA_PROTO_NUM
	filterPort     = 1 << 5         // CTA_FILTER_FLAG_CTA_PROTO_DST_PORT
	nested         = netlink.Nested // NLA_F_NESTED
)

// connection is what is needed to know and to delete a tracked connection.
type connection struct {
	tuple, zone []byte // attributes as the kernel gave them
	protocol    byte
	dst         netip.AddrPort
}

// forgetConnections deletes the tracked UDP connections to published ports. A tracked flow keeps the translation, or the lack
// of one, that its first packet got, and a client that goes on sending never lets it end.
func forgetConnections(ports []nft.Port) (err error) {
	byFamily := map[byte][]nft.Port{}
	for _, p := range ports {
		family := byte(syscall.AF_INET)
		if p.Host.Addr().Is6() {
			family = syscall.AF_INET6
		}
		if p.Protocol == nft.UDP {
			byFamily[family] = append(byFamily[family], p)
		}
	}
	if len(byFamily) == 0 {
		return nil
	}
	local, err := localAddrs()
	if err != nil {
		return fmt.Errorf("list addresses of the node: %w", err)
	}
	conn, err := netlink.Dial(netlinkNetfilter, nil)
	if err != nil {
		return fmt.Errorf("open netfilter netlink socket: %w", err)
	}
	defer func() { err = errors.Join(err, nft.CloseConn(conn)) }()
	for family, ports := range byFamily {
		if len(ports) > fewPorts { // one walk through all that is tracked
			err = forget(conn, family, 0, ports, local)
		}
		for i := 0; i < len(ports) && len(ports) <= fewPorts && err == nil; i++ {
			err = forget(conn, family, ports[i].Host.Port(), ports[i:i+1], local)
		}
		if err != nil {
			return fmt.Errorf("forget UDP connections to %s: %w", ports[0], err)
		}
	}
	return nil
}

// forget has the kernel list the connections to a port, or to all for 0, and deletes those to the ports.
func forget(conn *netlink.Conn, family byte, port uint16, ports []nft.Port, local []netip.Addr) error {
	request, err := dumpRequest(family, nft.UDP, port)
	if err != nil {
		return err
	}
	answers, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: ctGet, Flags: netlink.Request | netlink.Dump}, Data: request})
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP) {
		return nil // a kernel without nf_conntrack_netlink: flows go on as they are until they rest
	}
	if err != nil {
		return err
	}
	at := map[uint16][]nft.Port{}
	for _, p := range ports {
		at[p.Host.Port()] = append(at[p.Host.Port()], p)
	}
	for _, m := range answers {
		c, ok := decodeConnection(m.Data)
		if !ok || !slices.ContainsFunc(at[c.dst.Port()], func(p nft.Port) bool { return c.to(p, local) }) {
			continue
		}
		_, err := conn.Execute(netlink.Message{
			Header: netlink.Header{Type: ctDelete, Flags: netlink.Request | netlink.Acknowledge},
			Data:   c.deleteRequest(family),
		})
		if err != nil && !errors.Is(err, syscall.ENOENT) { // ended by itself
			return err
		}
	}
	return nil
}

// to tells whether a connection was made to a published port of this node. The kernel's filter is a help that Linux before 5.8 ignores.
func (c connection) to(p nft.Port, local []netip.Addr) bool {
	if c.protocol != byte(p.Protocol) || c.dst.Port() != p.Host.Port() || !covers(p, c.dst.Addr()) {
		return false
	}
	for _, a := range local {
		if a == c.dst.Addr() {
			return true
		}
	}
	return c.dst.Addr().IsLoopback()
}

// dumpRequest asks for the connections of one protocol and destination port, or of all ports for 0.
func dumpRequest(family byte, protocol nft.Protocol, port uint16) ([]byte, error) {
	flags := uint32(filterProtocol)
	if port != 0 {
		flags |= filterPort
	}
	attrs := netlink.NewAttributeEncoder()
	attrs.Nested(ctaTupleOrig, func(tuple *netlink.AttributeEncoder) error {
		tuple.Nested(ctaProto, func(proto *netlink.AttributeEncoder) error {
			proto.Uint8(ctaProtoNum, byte(protocol))
			proto.Bytes(ctaDstPort, binary.BigEndian.AppendUint16(nil, port))
			return nil
		})
		return nil
	})
	attrs.Nested(ctaFilter, func(filter *netlink.AttributeEncoder) error {
		filter.Uint32(ctaFilterOrig, flags)
		return nil
	})
	data, err := attrs.Encode()
	return append([]byte{family, 0, 0, 0}, data...), err
}

func (c connection) deleteRequest(family byte) []byte {
	attrs := netlink.NewAttributeEncoder()
	attrs.Bytes(ctaTupleOrig|nested, c.tuple)
	if c.zone != nil {
		attrs.Bytes(ctaZone, c.zone)
	}
	data, err := attrs.Encode()
	if err != nil {
		return nil // can't be: two byte strings, which the kernel made
	}
	return append([]byte{family, 0, 0, 0}, data...)
}

func decodeConnection(b []byte) (connection, bool) {
	if len(b) < nfgenmsgSize {
		return connection{}, false
	}
	attrs, err := netlink.NewAttributeDecoder(b[nfgenmsgSize:])
	if err != nil {
		return connection{}, false
	}
	var c connection
	for attrs.Next() {
		switch attrs.Type() {
		case ctaTupleOrig:
			c.tuple = attrs.Bytes()
		case ctaZone:
			c.zone = attrs.Bytes()
		}
	}
	return c, attrs.Err() == nil && c.decodeTuple()
}

func (c *connection) decodeTuple() bool {
	tuple, err := netlink.NewAttributeDecoder(c.tuple)
	if err != nil {
		return false
	}
	var addr netip.Addr
	var port uint16
	for tuple.Next() {
		tuple.Nested(func(inner *netlink.AttributeDecoder) error {
			for inner.Next() {
				b := inner.Bytes()
				switch kind := inner.Type(); {
				case tuple.Type() == ctaIP && (kind == ctaIPv4Dst || kind == ctaIPv6Dst):
					addr, _ = netip.AddrFromSlice(b)
				case tuple.Type() == ctaProto && kind == ctaProtoNum && len(b) == 1:
					c.protocol = b[0]
				case tuple.Type() == ctaProto && kind == ctaDstPort && len(b) == 2:
					port = binary.BigEndian.Uint16(b)
				}
			}
			return nil
		})
	}
	c.dst = netip.AddrPortFrom(addr, port)
	return tuple.Err() == nil && addr.IsValid()
}

func localAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				addrs = append(addrs, addr.Unmap())
			}
		}
	}
	return addrs, nil
}
