package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"

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
		want, err := f.conn.GetSetElements(s)
		testutil.Must(t, err)
		var got []nftables.SetElement
		testutil.Must(t, f.dumper.elements(s.Name, func(e nftables.SetElement) {
			e.Key, e.KeyEnd, e.Val = bytes.Clone(e.Key), bytes.Clone(e.KeyEnd), bytes.Clone(e.Val)
			got = append(got, e)
		}))
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
