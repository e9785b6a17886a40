package nft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// TestDumpSaysWhatTheLibrarySays has more elements than fit into one piece of the kernel's answer.
func TestDumpSaysWhatTheLibrarySays(t *testing.T) {
	if !testutil.InNamespaces(t, testutil.Net) {
		return
	}
	f, err := Open()
	testutil.Must(t, err)
	defer func() { testutil.Must(t, f.Close()) }()
	a := Attachment{Owner: Owner{"net", "c1", "eth0"}, Link: "lo", Masquerade: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}}
	for i := range 600 {
		a.Ports = append(a.Ports, port(TCP, fmt.Sprintf("0.0.0.0:%d", 1000+i), "10.0.0.2:80"), port(UDP, fmt.Sprintf("[::]:%d", 1000+i), "[fd00::2]:80"))
	}
	testutil.Must(t, f.Add(a))
	total := 0
	for _, s := range f.obj.publishing().sets {
		want, got := readBoth(t, f, s)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", s.Name, diff)
		}
		total += len(got)
	}
	if total < 1200 {
		t.Errorf("%d elements", total)
	}
	_, err = f.Collect("net", nil, func(string) bool { return true })
	testutil.Must(t, err)
}

// readBoth reads a set in both ways, in the order of its keys. The library does not tell that an answer may lack elements.
func readBoth(t *testing.T, f *Firewall, s *nftables.Set) (library, own []nftables.SetElement) {
	t.Helper()
	byKey := func(a, b nftables.SetElement) int { return bytes.Compare(a.Key, b.Key) }
	same := func(a, b nftables.SetElement) bool { return byKey(a, b) == 0 }
	for range readsMax {
		library, err := f.conn.GetSetElements(s)
		testutil.Must(t, err)
		var own []nftables.SetElement
		whole, err := f.dumper.elements(s.Name, func(e nftables.SetElement) {
			e.Key, e.KeyEnd, e.Val = bytes.Clone(e.Key), bytes.Clone(e.KeyEnd), bytes.Clone(e.Val)
			own = append(own, e)
		})
		testutil.Must(t, err)
		slices.SortFunc(library, byKey)
		slices.SortFunc(own, byKey)
		if total := len(library); whole && len(slices.CompactFunc(library, same)) == total {
			return library, own
		}
	}
	t.Fatalf("%s is never read whole", s.Name)
	return nil, nil
}

func FuzzDecodeElements(f *testing.F) {
	attr := func(kind uint16, value []byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
		b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
		return append(b, make([]byte, align(len(b))-len(b))...)
	}
	item := bytes.Join([][]byte{
		attr(attrKey|1<<15, attr(attrValue, []byte{6, 0, 0, 0, 10, 0, 0, 2, 0, 80, 0, 0})), attr(attrUserData, []byte("\x00\x0bnet/c1/eth\x00")),
	}, nil)
	f.Add(attr(attrElements, attr(attrItem, item)), uint8(0))
	f.Add([]byte{5, 0, 3, 0, 9}, uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		decodeElements(data, func(e nftables.SetElement) {
			if len(e.Key)+len(e.KeyEnd)+len(e.Val)+len(e.Comment) > len(data) {
				t.Fatalf("%v", e)
			}
		})
		d := &dumper{seq: 7}
		_, _ = d.piece(data, func([]byte) {})
		message := binary.NativeEndian.AppendUint32(nil, uint32(20+len(data))-uint32(cut))
		message = binary.NativeEndian.AppendUint32(message, msgGetElement)
		message = append(binary.NativeEndian.AppendUint32(message, d.seq), make([]byte, 8)...)
		_, _ = d.piece(append(message, data...), func(b []byte) { decodeElements(b, func(nftables.SetElement) {}) })
	})
}

// TestSetsAreReadWhole moves elements while they are read: new ones before the place that the kernel has come to have it give some of the
// old ones again, as a larger table does, which also leaves some out.
func TestSetsAreReadWhole(t *testing.T) {
	f := open(t, "brt0")
	a := Attachment{Owner: Owner{"net", "c1", "eth0"}, Link: "brt0", NoSNAT: true}
	ports := func(first, count int) (list []Port) {
		for i := range count {
			list = append(list, port(TCP, fmt.Sprintf("10.0.%d.%d:80", (first+i)>>8, (first+i)&255), "10.0.0.2:80"))
		}
		return list
	}
	const before, more = 2000, 64
	a.Ports = ports(0, before)
	testutil.Must(t, f.Add(a))
	added := 0
	add := func(more int) {
		list := elements(f.obj, Attachment{Owner: a.Owner, Link: a.Link, NoSNAT: true, Ports: ports(before+added, more)})
		testutil.Must(t, inChunks(list, f.conn.SetAddElements))
		testutil.Must(t, f.conn.Flush())
		added += more
	}
	onlyPorts := func(s *nftables.Set) bool { return s == f.obj.ports4 }
	for _, wanted := range []bool{true, false} {
		now, err := f.read(onlyPorts, func(e element) bool {
			if added == 0 {
				add(more)
			}
			p, _ := e.port()
			return p.Host.Addr().As4()[3]%2 == 0 == wanted
		})
		testutil.Must(t, err)
		seen := map[Port]bool{}
		for _, p := range portsOf(now.elements) {
			seen[p] = true
		}
		if half := (before + more) / 2; len(seen) != half || len(now.elements) != half || now.passed != half {
			t.Errorf("read %d elements, %d of them different, and passed %d over, of %d each", len(now.elements), len(seen), now.passed, half)
		}
	}
	n := 0
	_, err := f.read(onlyPorts, func(element) bool {
		if n++; n%500 == 0 {
			add(8)
		}
		return true
	})
	if !errors.Is(err, errdefs.ErrUnavailable) {
		t.Errorf("a set that changes all the time: %v", err)
	}
	_, err = f.Collect("net", nil, func(string) bool { return true })
	testutil.Must(t, err)
}
