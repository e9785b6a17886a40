package alloc

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func sample() []Entry {
	return []Entry{
		{Addr: netip.MustParseAddr("10.0.0.2"), Owner: Owner{"c1", "eth0"}, Netns: `/run/a "b" c` + "\n", NS: NS{4026531840, 77}, Of: 2, Pod: "p"},
		{Addr: netip.MustParseAddr("fd00::2"), Owner: Owner{"c1", "eth0"}, Of: 2, Pod: "p"},
		{Addr: netip.MustParseAddr("10.0.0.3"), Owner: Owner{"c2", "net1"}, Free: true, Freed: -5, Of: 1},
	}
}

// FuzzFile puts any bytes in place of the file, and wants no address to be given that an entry which is whole says is taken.
func FuzzFile(f *testing.F) {
	h := header{boot: "boot", slots: slotsLeast, last: []netip.Addr{netip.MustParseAddr("10.0.0.2"), {}}}
	data, size, err := image(h, sample())
	if err != nil {
		f.Fatal(err)
	}
	whole := append(data, make([]byte, size-int64(len(data)))...)
	f.Add(whole, false)
	f.Add(whole, true)
	f.Add(whole[:len(whole)-1], false)
	f.Add(whole[:pageSize], false)
	marked := append([]byte{}, whole...)
	marked[markAt] = '*'
	f.Add(marked, true)
	looped := append([]byte{}, whole...)
	looped[h.nextAt(byAddr, 0)] = 1
	f.Add(looped, true)
	f.Add([]byte("berth-allocations 1 boot 0\nlast\n"), false)
	p := pool(f, "10.0.0.0/29", "fd00::/126")
	f.Fuzz(func(t *testing.T, data []byte, forged bool) {
		if forged {
			data = reseal(data, h)
		}
		s := newStore(t)
		s.boot = "boot"
		testutil.Must(t, os.Mkdir(s.dir, 0o700))
		testutil.Must(t, os.WriteFile(s.path(), data, 0o600))
		busy := map[netip.Addr]bool{}
		for at := h.slotsAt(); at+lineSize <= int64(len(data)); at += lineSize {
			if e, err := decodeEntry(data[at : at+lineSize]); err == nil && !e.Free {
				busy[e.Addr] = true
			}
		}
		given, err := s.Assign(p, nil, entry("new"))
		if err != nil && !errors.Is(err, errdefs.ErrDataLoss) && !errors.Is(err, errdefs.ErrNotSupported) && !errors.Is(err, errdefs.ErrExhausted) && !errors.Is(err, errdefs.ErrExists) {
			t.Fatal(err)
		}
		if h2, marked, err := decodeHeader(data[:min(len(data), pageSize)]); err == nil && h2.boot == s.boot && h2.used == 3 && h2.slots == slotsLeast && !marked {
			for _, a := range given {
				if busy[a.Addr] && !forged && intact(whole, data, h) {
					t.Fatalf("%s is given twice", a.Addr)
				}
			}
		}
		testutil.Must(t, s.Release(entry("new").Owner))
	})
}

// reseal makes all checksums right, which a fuzzer hardly does.
func reseal(data []byte, h header) []byte {
	data = slices.Clone(data)
	if len(data) >= pageSize {
		copy(data[markAt+1:], seal(slices.Clone(data[:markAt]))[markAt:])
	}
	for at := h.slotsAt(); at+lineSize <= int64(len(data)); at += lineSize {
		copy(data[at:], seal(slices.Clone(data[at:at+bodySize])))
	}
	return data
}

// intact says whether the index, which no checksum protects, is that of the sample.
func intact(whole, data []byte, h header) bool {
	return len(data) == len(whole) && string(data[pageSize:h.slotsAt()]) == string(whole[pageSize:h.slotsAt()])
}

func FuzzEntry(f *testing.F) {
	for _, e := range sample() {
		line, err := e.line()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if len(line) >= bodySize {
			line = seal(append([]byte{}, line[:bodySize]...)) // as no fuzzer finds checksums
		}
		e, err := decodeEntry(line)
		if err != nil {
			return
		}
		again, err := e.line()
		if err != nil {
			return // longer IDs than ours
		}
		back, err := decodeEntry(again)
		if e.Netns != "" && back.Netns == "" {
			e.Netns, e.NS = "", NS{} // no room for it when it is quoted our way
		}
		if diff := cmp.Diff(e, back, cmp.Comparer(sameAddr)); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
	})
}

func FuzzFormerEntry(f *testing.F) {
	f.Add("10.0.0.2", "c1\r\neth0")
	f.Add("fd00::1%x", "c1")
	f.Fuzz(func(t *testing.T, name, data string) {
		e, ok := formerEntry(name, data)
		if !ok {
			return
		}
		line, err := e.line()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeEntry(line)
		if diff := cmp.Diff(e, back, cmp.Comparer(sameAddr)); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
	})
}
