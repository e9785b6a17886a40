package alloc

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// The file is text, one record a line:
//
//	berth-allocations 1 BOOT-ID NUMBER-OF-ENTRIES
//	last ADDRESS|- …
//	ADDRESS CONTAINER-ID IFNAME INODE "NETNS"
const (
	fileMagic = "berth-allocations"
	fileMax   = 64 << 20 // bytes
	setsMax   = 1024
)

// encode writes a state. Container ids and interface names hold no blanks: the plugin frame checked them.
func encode(s *State, boot string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s 1 %s %d\nlast", fileMagic, boot, len(s.Entries))
	for _, a := range s.Last {
		if a.IsValid() {
			fmt.Fprintf(&b, " %s", a)
		} else {
			b.WriteString(" -")
		}
	}
	b.WriteByte('\n')
	for _, e := range s.Entries {
		fmt.Fprintf(&b, "%s %s %s %d %s\n", e.Addr, e.Owner.ContainerID, e.Owner.IfName, e.Inode, strconv.Quote(e.Netns))
	}
	return b.Bytes()
}

// decode reads a file. A file of another boot gives an empty state. With an error of kind ErrDataLoss the state holds the
// entries that are whole.
func decode(data []byte, boot string) (*State, error) {
	s := &State{}
	lines := strings.Split(string(data), "\n")
	want, current, err := decodeHeader(lines[0], boot)
	if err != nil {
		return s, err
	}
	if !current {
		return s, nil
	}
	if len(lines) < 3 {
		return s, damaged("its end is missing")
	}
	if lines[len(lines)-1] != "" {
		err = damaged("its end is missing")
	}
	last, lastErr := decodeLast(lines[1])
	if lastErr != nil {
		return s, lastErr
	}
	s.Last = last
	seen := map[netip.Addr]bool{}
	for _, line := range lines[2 : len(lines)-1] {
		e, lineErr := decodeEntry(line)
		if lineErr == nil && seen[e.Addr] {
			lineErr = damaged("address %s is in it twice", e.Addr)
		}
		if lineErr != nil {
			return s, lineErr
		}
		seen[e.Addr] = true
		s.Entries = append(s.Entries, e)
	}
	if err == nil && len(s.Entries) != want {
		err = damaged("it has %d entries instead of %d", len(s.Entries), want)
	}
	return s, err
}

func decodeHeader(line, boot string) (entries int, current bool, err error) {
	f := strings.Split(line, " ")
	if len(f) != 4 || f[0] != fileMagic {
		return 0, false, damaged("its first line is %.80q", line)
	}
	if f[1] != "1" {
		return 0, false, errdefs.New(errdefs.ErrNotSupported, "it has format %.20q, this program knows 1", f[1])
	}
	n, err := strconv.ParseUint(f[3], 10, 31)
	if err != nil {
		return 0, false, damaged("its first line is %.80q", line)
	}
	return int(n), f[2] == boot, nil
}

func decodeLast(line string) ([]netip.Addr, error) {
	f := strings.Split(line, " ")
	if f[0] != "last" || len(f) > setsMax {
		return nil, damaged("its second line is %.80q", line)
	}
	var last []netip.Addr
	for _, text := range f[1:] {
		var a netip.Addr
		if text != "-" {
			var err error
			if a, err = netip.ParseAddr(text); err != nil {
				return nil, damaged("its second line is %.80q", line)
			}
		}
		last = append(last, a)
	}
	return last, nil
}

func decodeEntry(line string) (Entry, error) {
	f := strings.SplitN(line, " ", 5)
	if len(f) != 5 || f[1] == "" || f[2] == "" {
		return Entry{}, damaged("it has the line %.200q", line)
	}
	addr, err := netip.ParseAddr(f[0])
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return Entry{}, damaged("it has the line %.200q", line)
	}
	inode, err := strconv.ParseUint(f[3], 10, 64)
	if err != nil {
		return Entry{}, damaged("it has the line %.200q", line)
	}
	path, err := strconv.Unquote(f[4])
	if err != nil {
		return Entry{}, damaged("it has the line %.200q", line)
	}
	return Entry{Addr: addr, Owner: Owner{ContainerID: f[1], IfName: f[2]}, Netns: path, Inode: inode}, nil
}

func damaged(format string, args ...any) error {
	return errdefs.New(errdefs.ErrDataLoss, format, args...)
}
