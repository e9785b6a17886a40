package alloc

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func mustRange(t testing.TB, subnet, first, last, gateway string) Range {
	t.Helper()
	var a [3]netip.Addr
	for i, text := range []string{first, last, gateway} {
		if text != "" {
			a[i] = netip.MustParseAddr(text)
		}
	}
	r, err := NewRange(netip.MustParsePrefix(subnet), a[0], a[1], a[2])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func entry(id string) Entry { return Entry{Owner: Owner{ContainerID: id, IfName: "eth0"}} }

func all(Entry) bool  { return true }
func none(Entry) bool { return false }

// fill assigns until the set is used up and returns the addresses in order.
func fill(t *testing.T, s *State, set Set) []string {
	t.Helper()
	var list []string
	for i := 0; ; i++ {
		given, err := s.Assign([]Set{set}, nil, entry(fmt.Sprint("c", i)), all)
		if errors.Is(err, errdefs.ErrExhausted) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, given[0].Addr.String())
	}
}

func TestRangesGiveEveryUsableAddressOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		set  Set
		want string
	}{
		"smallest":             {Set{mustRange(t, "10.0.0.0/30", "", "", "")}, "10.0.0.2"},
		"gateway in the midst": {Set{mustRange(t, "10.0.0.0/29", "", "", "10.0.0.3")}, "10.0.0.1 10.0.0.2 10.0.0.4 10.0.0.5 10.0.0.6"},
		"bounds":               {Set{mustRange(t, "10.0.0.0/24", "10.0.0.7", "10.0.0.9", "")}, "10.0.0.7 10.0.0.8 10.0.0.9"},
		"up to broadcast":      {Set{mustRange(t, "10.0.0.0/29", "10.0.0.5", "10.0.0.7", "")}, "10.0.0.5 10.0.0.6"},
		"two ranges":           {Set{mustRange(t, "10.0.0.0/30", "", "", ""), mustRange(t, "10.0.1.0/30", "", "", "")}, "10.0.0.2 10.0.1.2"},
		"IPv6 to the end":      {Set{mustRange(t, "fd00::/126", "", "", "")}, "fd00::2 fd00::3"},
		"end of IPv4":          {Set{mustRange(t, "255.255.255.252/30", "", "", "")}, "255.255.255.254"},
	} {
		if got := strings.Join(fill(t, &State{}, tc.set), " "); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestFreedAddressesRest(t *testing.T) {
	s, set := &State{}, []Set{{mustRange(t, "10.0.0.0/29", "", "", "")}}
	for _, want := range []string{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"} {
		given, err := s.Assign(set, nil, entry("c"), all)
		if err != nil || given[0].Addr.String() != want {
			t.Fatalf("got %v, %v, want %s", given, err, want)
		}
		s.Release(none)
	}
}

func TestDeadOwnersAreRobbedOnlyWhenNothingElseIsLeft(t *testing.T) {
	s, sets := &State{}, []Set{{mustRange(t, "10.0.0.0/29", "", "", "")}}
	for i := range 5 {
		if _, err := s.Assign(sets, nil, entry(fmt.Sprint("c", i)), none); err != nil {
			t.Fatal(err)
		}
		if len(s.Entries) != i+1 {
			t.Fatalf("after %d assignments %d entries", i+1, len(s.Entries))
		}
	}
	alive := func(e Entry) bool { return e.Owner.ContainerID != "c3" }
	given, err := s.Assign(sets, nil, entry("new"), alive)
	if err != nil || given[0].Addr.String() != "10.0.0.5" {
		t.Fatalf("got %v, %v", given, err)
	}
	if _, err := s.Assign(sets, nil, entry("next"), all); !errors.Is(err, errdefs.ErrExhausted) {
		t.Fatalf("got %v", err)
	}
}

func TestWantedAddresses(t *testing.T) {
	sets := []Set{{mustRange(t, "10.0.0.0/24", "", "", "")}, {mustRange(t, "fd00::/64", "", "", "")}}
	addrs := func(texts ...string) []netip.Addr {
		var list []netip.Addr
		for _, text := range texts {
			list = append(list, netip.MustParseAddr(text))
		}
		return list
	}
	s := &State{}
	given, err := s.Assign(sets, addrs("fd00::9", "10.0.0.9"), entry("a"), all)
	if err != nil || given[0].Addr.String() != "10.0.0.9" || given[1].Addr.String() != "fd00::9" {
		t.Fatalf("got %v, %v", given, err)
	}
	before := slices.Clone(s.Entries)
	for name, tc := range map[string]struct {
		want []netip.Addr
		kind error
	}{
		"taken":            {addrs("10.0.0.9"), errdefs.ErrExists},
		"gateway":          {addrs("10.0.0.1"), errdefs.ErrInvalid},
		"outside":          {addrs("10.0.1.9"), errdefs.ErrInvalid},
		"two of one set":   {addrs("10.0.0.10", "10.0.0.11"), errdefs.ErrInvalid},
		"second one taken": {addrs("10.0.0.10", "fd00::9"), errdefs.ErrExists},
	} {
		if _, err := s.Assign(sets, tc.want, entry("b"), all); !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(s.Entries, before) {
			t.Errorf("%s: a failed assignment changed the state to %v", name, s.Entries)
		}
	}
}

func TestCheckSets(t *testing.T) {
	a, inA, v6 := mustRange(t, "10.0.0.0/24", "", "", ""), mustRange(t, "10.0.0.128/25", "", "", ""), mustRange(t, "fd00::/64", "", "", "")
	for name, sets := range map[string][]Set{"none": nil, "empty": {{}}, "mixed": {{a, v6}}, "overlap in a set": {{a, inA}}, "overlap of sets": {{a}, {inA}}} {
		if err := CheckSets(sets); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckSets([]Set{{a}, {v6}}); err != nil {
		t.Error(err)
	}
}

func sample() *State {
	return &State{
		Last: []netip.Addr{netip.MustParseAddr("10.0.0.3"), {}},
		Entries: []Entry{
			{Addr: netip.MustParseAddr("10.0.0.2"), Owner: Owner{"c1", "eth0"}, Netns: `/run/a "b" c` + "\n", Inode: 4026531840},
			{Addr: netip.MustParseAddr("fd00::2"), Owner: Owner{"c1", "eth0"}},
			{Addr: netip.MustParseAddr("10.0.0.3"), Owner: Owner{"c2", "net1"}},
		},
	}
}

func sameAddr(a, b netip.Addr) bool { return a == b }

func TestFileSurvivesOnlyItsBoot(t *testing.T) {
	data := encode(sample(), "boot-1")
	got, err := decode(data, "boot-1")
	if diff := cmp.Diff(sample(), got, cmp.Comparer(sameAddr)); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	got, err = decode(data, "boot-2")
	if diff := cmp.Diff(&State{}, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("another boot: %v %s", err, diff)
	}
}

// However short the file was cut, that is noticed, and no entry that is whole gets lost or changed.
func TestFileCutAnywhere(t *testing.T) {
	data := encode(sample(), "boot-1")
	for n := range data {
		got, err := decode(data[:n], "boot-1")
		if !errors.Is(err, errdefs.ErrDataLoss) {
			t.Fatalf("cut to %d bytes: %v, %+v", n, err, got)
		}
		whole := max(0, strings.Count(string(data[:n]), "\n")-2)
		if len(got.Entries) != whole {
			t.Fatalf("cut to %d bytes: %d entries, %d lines are whole", n, len(got.Entries), whole)
		}
	}
}

func TestStoreRepairsOnlyWhatItCanExplain(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, "net")
	if err != nil {
		t.Fatal(err)
	}
	sets := []Set{{mustRange(t, "10.0.0.0/24", "", "", "")}}
	for _, id := range []string{"a", "b", "c"} {
		if _, err := s.Assign(sets, nil, entry(id)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "net", "allocations")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-3); err != nil {
		t.Fatal(err)
	}
	owner := func(id string) Owner { return entry(id).Owner }
	if _, err := s.Assign(sets, nil, entry("d")); !errors.Is(err, errdefs.ErrDataLoss) {
		t.Errorf("Assign: %v", err)
	}
	if err := s.Free(sets); !errors.Is(err, errdefs.ErrDataLoss) {
		t.Errorf("Free: %v", err)
	}
	if err := s.Release(owner("a")); err != nil {
		t.Errorf("Release: %v", err)
	}
	if err := s.GC(map[Owner]bool{owner("a"): true, owner("c"): true}); !errors.Is(err, errdefs.ErrDataLoss) {
		t.Errorf("GC with an owner that was cut off: %v", err)
	}
	if err := s.GC(map[Owner]bool{owner("b"): true}); err != nil {
		t.Errorf("GC: %v", err)
	}
	given, err := s.Assign(sets, nil, entry("d"))
	if err != nil || given[0].Addr.String() != "10.0.0.5" {
		t.Errorf("Assign after the repair: %v, %v", given, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("files %v, %v", left, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(sample(), "boot"))
	f.Add([]byte("berth-allocations 1 boot 0\nlast\n"))
	f.Add([]byte("berth-allocations 1 boot 1\nlast -\n10.0.0.2 a b 0 \"\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(data, "boot")
		if s == nil {
			t.Fatal("no state")
		}
		if err != nil {
			return
		}
		again, err := decode(encode(s, "boot"), "boot")
		if diff := cmp.Diff(s, again, cmp.Comparer(sameAddr), cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
	})
}

func BenchmarkAssignRelease(b *testing.B) {
	s, err := Open(b.TempDir(), "net")
	if err != nil {
		b.Fatal(err)
	}
	sets := []Set{{mustRange(b, "10.0.0.0/16", "", "", "")}}
	for i := range 250 {
		if _, err := s.Assign(sets, nil, entry(fmt.Sprint("c", i))); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Assign(sets, nil, entry("x")); err != nil {
			b.Fatal(err)
		}
		if err := s.Release(entry("x").Owner); err != nil {
			b.Fatal(err)
		}
	}
}
