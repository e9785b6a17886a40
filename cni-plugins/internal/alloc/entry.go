package alloc

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Owner is one interface of one container.
type Owner struct {
	ContainerID, IfName string
}

// NS identifies a network namespace. The number of an inode may come back with the next namespace, a cookie does not until the machine
// starts anew. Of what is unknown both are 0.
type NS struct {
	Inode, Cookie uint64
}

// Entry is one address that is taken, or that was and is kept in mind.
type Entry struct {
	Addr  netip.Addr
	Owner Owner
	Netns string // the owner's network namespace at the time, "" if unknown
	NS    NS     // which one that is
	Pod   string // who gets the address back if it is free, "" for nobody; holds no blanks
	Free  bool
	Freed int64 // when, in seconds since boot
	Of    int   // how many addresses the owner got together with this one, itself included
}

// free takes the address from its owner.
func (e *Entry) free(now int64) { e.Free, e.Freed, e.Netns, e.NS = true, now, "", NS{} }

// Assignment is an address given to an owner, with the range that it is from.
type Assignment struct {
	Addr     netip.Addr
	Range    Range
	searched bool // the next search goes on from it
}

// An entry is a line of text of a fixed length:
//
//	[free ]ADDRESS CONTAINER-ID IFNAME INODE/COOKIE FREED OF POD|- "NETNS" … CRC-32
//
// Format 2 of the file has no cookie, and no slash. The length divides that of a page, so a line never crosses one: a process that is killed has written the whole line or nothing.
const (
	lineSize = 512
	bodySize = lineSize - 9 // the rest are 8 digits of checksum and the line's end
	freeMark = "free "

	// MaxID is how many bytes of a container's ID have room in a line.
	MaxID = 200
)

// line encodes an entry. A namespace whose path has no room is left out: its address is then freed by DEL and GC alone.
func (e Entry) line() ([]byte, error) {
	encode := func(netns string, ns NS) []byte {
		var b bytes.Buffer
		if e.Free {
			b.WriteString(freeMark)
		}
		pod := e.Pod
		if pod == "" {
			pod = "-"
		}
		fmt.Fprintf(&b, "%s %s %s %d/%d %d %d %s %s", e.Addr, e.Owner.ContainerID, e.Owner.IfName, ns.Inode, ns.Cookie, e.Freed, e.Of, pod, strconv.Quote(netns))
		return b.Bytes()
	}
	body := encode(e.Netns, e.NS)
	if len(body) > bodySize {
		body = encode("", NS{})
	}
	if len(body) > bodySize || len(e.Owner.ContainerID) > MaxID {
		return nil, errdefs.Invalid("record address %s: the ID of container %.30s… has more than %d bytes", e.Addr, e.Owner.ContainerID, MaxID)
	}
	return seal(append(body, bytes.Repeat([]byte{' '}, bodySize-len(body))...)), nil
}

// seal appends checksum and line end.
func seal(body []byte) []byte {
	return append(body, fmt.Sprintf("%08x\n", crc32.ChecksumIEEE(body))...)
}

// unseal returns what was sealed, without the blanks at its end, and whether the checksum is right.
func unseal(line []byte) (text string, ok bool) {
	body := line[:len(line)-9]
	return strings.TrimRight(string(body), " "), string(line[len(body):]) == fmt.Sprintf("%08x\n", crc32.ChecksumIEEE(body))
}

func decodeEntry(line []byte) (Entry, error) {
	bad := func() (Entry, error) { return Entry{}, damaged("it has the line %.100q", line) }
	if len(line) != lineSize {
		return bad()
	}
	body, ok := unseal(line)
	if !ok {
		return bad()
	}
	var e Entry
	body, e.Free = strings.CutPrefix(body, freeMark)
	f := strings.SplitN(body, " ", 8)
	if len(f) != 8 || f[1] == "" || f[2] == "" || f[6] == "" {
		return bad()
	}
	e.Owner = Owner{ContainerID: f[1], IfName: f[2]}
	if f[6] != "-" {
		e.Pod = f[6]
	}
	inode, cookie, both := strings.Cut(f[3], "/")
	if !both {
		cookie = "0"
	}
	var err [6]error
	e.Addr, err[0] = netip.ParseAddr(f[0])
	e.NS.Inode, err[1] = strconv.ParseUint(inode, 10, 64)
	e.Freed, err[2] = strconv.ParseInt(f[4], 10, 64)
	e.Of, err[3] = strconv.Atoi(f[5])
	e.Netns, err[4] = strconv.Unquote(f[7])
	e.NS.Cookie, err[5] = strconv.ParseUint(cookie, 10, 64)
	if err != [6]error{} || e.Addr.Zone() != "" || e.Addr.Is4In6() {
		return bad()
	}
	return e, nil
}

func damaged(format string, args ...any) error {
	return errdefs.New(errdefs.ErrDataLoss, format, args...)
}
