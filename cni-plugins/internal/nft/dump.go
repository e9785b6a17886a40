package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables"
)

// dumper asks the kernel what sets hold. The library would do that too, but with small buffers, in which the kernel puts a few elements at
// a time, looks at each piece twice, and makes a dozen objects of an element: with 500 published ports that takes longer than all the rest.
type dumper struct {
	fd  int
	seq uint32
	buf []byte

	torn bool // the kernel says that something changed while it gave the last answer
}

// Numbers of linux/netfilter/nf_tables.h and nfnetlink.h.
const (
	msgGetSet     = 10<<8 | 10 // NFNL_SUBSYS_NFTABLES, NFT_MSG_GETSET
	msgGetElement = 10<<8 | 13 // NFT_MSG_GETSETELEM

	attrTable    = 1 // NFTA_SET_TABLE, NFTA_SET_ELEM_LIST_TABLE
	attrName     = 2 // NFTA_SET_NAME, NFTA_SET_ELEM_LIST_SET
	attrElements = 3 // NFTA_SET_ELEM_LIST_ELEMENTS
	attrItem     = 1 // NFTA_LIST_ELEM
	attrValue    = 1 // NFTA_DATA_VALUE

	attrKey      = 1 // NFTA_SET_ELEM_KEY
	attrData     = 2
	attrUserData = 6
	attrKeyEnd   = 10

	udataComment = 0 // NFTNL_UDATA_SET_ELEM_COMMENT of libnftnl

	familyINet   = 1 // NFPROTO_INET
	nfgenmsgSize = 4
	pieceMax     = 32 << 10 // bytes that the kernel puts into one piece of an answer (netlink_dump in net/netlink)

	flagInterrupted = 0x10 // NLM_F_DUMP_INTR
)

func newDumper() (*dumper, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return &dumper{fd: fd, buf: make([]byte, pieceMax)}, nil
}

func (d *dumper) close() error { return syscall.Close(d.fd) }

// sets lists the sets of the table by name. A table that is not there gives ENOENT.
func (d *dumper) sets() (names map[string]bool, err error) {
	names = map[string]bool{}
	err = d.dump(msgGetSet, appendString(nil, attrTable, tableName), func(body []byte) {
		for kind, value := range attributes(body) {
			if kind == attrName {
				names[text(value)] = true
			}
		}
	})
	return names, err
}

// elements calls do for each element of a set. Its bytes change when do has returned. Not whole is an answer that may lack some.
//
// The kernel makes each piece of an answer by walking the set anew, past as many elements as it has given already (nft_rhash_walk). When it has
// moved the elements of a hash table to a larger one meanwhile, which it does some time after many were added, that leaves out as many elements
// as it gives twice. It says nothing about it, but while the set does not change each walk meets all elements: without one that came
// twice, none is missing.
func (d *dumper) elements(set string, do func(nftables.SetElement)) (whole bool, err error) {
	var sums []uint64
	var hash maphash.Hash
	pieces := 0
	request := appendString(appendString(nil, attrTable, tableName), attrName, set)
	err = d.dump(msgGetElement, request, func(body []byte) {
		pieces++
		decodeElements(body, func(e nftables.SetElement) {
			hash.Reset()
			_, _ = hash.Write(e.Key)
			_, _ = hash.Write(e.KeyEnd)
			sums = append(sums, hash.Sum64())
			do(e)
		})
	})
	return !d.torn && (pieces <= 1 || areDistinct(sums)), err
}

// areDistinct tells whether no number is there twice. It changes their order.
func areDistinct(list []uint64) bool {
	slices.Sort(list)
	return len(slices.Compact(list)) == len(list)
}

// dump sends a request and calls do with the attributes of each message of the answer.
func (d *dumper) dump(kind uint16, attrs []byte, do func([]byte)) error {
	d.seq++
	d.torn = false
	request := make([]byte, syscall.NLMSG_HDRLEN, syscall.NLMSG_HDRLEN+nfgenmsgSize+len(attrs))
	binary.NativeEndian.PutUint32(request, uint32(cap(request)))
	binary.NativeEndian.PutUint16(request[4:], kind)
	binary.NativeEndian.PutUint16(request[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(request[8:], d.seq)
	request = append(append(request, familyINet, 0, 0, 0), attrs...)
	if err := syscall.Sendto(d.fd, request, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for {
		n, err := syscall.Read(d.fd, d.buf)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		if done, err := d.piece(d.buf[:n], do); done || err != nil {
			return err
		}
	}
}

// piece reads the messages of one piece of an answer.
func (d *dumper) piece(b []byte, do func([]byte)) (done bool, err error) {
	for len(b) > 0 {
		if len(b) < syscall.NLMSG_HDRLEN {
			return false, fmt.Errorf("netlink message of %d bytes", len(b))
		}
		size, kind := binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint16(b[4:])
		if size < syscall.NLMSG_HDRLEN+nfgenmsgSize || uint64(size) > uint64(len(b)) {
			return false, fmt.Errorf("netlink message of %d bytes in %d", size, len(b))
		}
		body, flags := b[syscall.NLMSG_HDRLEN:size], binary.NativeEndian.Uint16(b[6:])
		d.torn = d.torn || flags&flagInterrupted != 0
		switch {
		case binary.NativeEndian.Uint32(b[8:]) != d.seq:
		case kind == syscall.NLMSG_DONE || kind == syscall.NLMSG_ERROR:
			if code := int32(binary.NativeEndian.Uint32(body)); code < 0 {
				return true, syscall.Errno(-code)
			}
			return true, nil
		default:
			do(body[nfgenmsgSize:])
		}
		b = b[min(align(int(size)), len(b)):]
	}
	return false, nil
}

func align(n int) int { return (n + 3) &^ 3 }

func appendString(b []byte, kind uint16, s string) []byte {
	size := 4 + len(s) + 1
	b = binary.NativeEndian.AppendUint16(b, uint16(size))
	b = append(binary.NativeEndian.AppendUint16(b, kind), s...)
	return append(b, make([]byte, 1+align(size)-size)...)
}

func text(b []byte) string { return strings.TrimSuffix(string(b), "\x00") }

// attributes yields kind and value of attributes in a row; it ends at one that is cut off.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
			if size < 4 || size > len(b) || !yield(kind&0x3fff, b[4:size]) { // without NLA_F_NESTED, NLA_F_NET_BYTEORDER
				return
			}
			b = b[min(align(size), len(b)):]
		}
	}
}

// decodeElements reads the attributes of a message of elements.
func decodeElements(b []byte, do func(nftables.SetElement)) {
	for kind, list := range attributes(b) {
		if kind != attrElements {
			continue
		}
		for kind, item := range attributes(list) {
			if kind == attrItem {
				do(decodeElement(item))
			}
		}
	}
}

func decodeElement(b []byte) (e nftables.SetElement) {
	for kind, value := range attributes(b) {
		switch kind {
		case attrKey:
			e.Key = data(value)
		case attrKeyEnd:
			e.KeyEnd = data(value)
		case attrData:
			e.Val = data(value)
		case attrUserData:
			e.Comment = comment(value)
		}
	}
	return e
}

// data is the value in an attribute for a key or what it leads to.
func data(b []byte) []byte {
	for kind, value := range attributes(b) {
		if kind == attrValue {
			return value
		}
	}
	return nil
}

// comment finds the comment in what nft(8) and others keep with an element: kind, size and value, in a row.
func comment(b []byte) string {
	for len(b) >= 2 && 2+int(b[1]) <= len(b) {
		if b[0] == udataComment {
			return text(b[2 : 2+int(b[1])])
		}
		b = b[2+int(b[1]):]
	}
	return ""
}
