package alloc

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
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
	testutil.Must(t, err)
	return r
}

// pool is of one set of one subnet each.
func pool(t testing.TB, subnets ...string) Pool {
	t.Helper()
	var p Pool
	for _, s := range subnets {
		p.Sets = append(p.Sets, Set{mustRange(t, s, "", "", "")})
	}
	return p
}

func newStore(t testing.TB) *Store {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(dir, dir, "net")
	testutil.Must(t, err)
	return s
}

func entry(id string) Entry { return Entry{Owner: Owner{ContainerID: id, IfName: "eth0"}} }
func owner(id string) Owner { return entry(id).Owner }

// podEntry is that of a container of a pod that gets its address back.
func podEntry(id, pod string) Entry {
	e := entry(id)
	e.Pod = pod
	return e
}

func text(given []Assignment) string {
	var list []string
	for _, a := range given {
		list = append(list, a.Addr.String())
	}
	return strings.Join(list, " ")
}

func wantAssigned(t *testing.T, s *Store, p Pool, e Entry, want string) {
	t.Helper()
	given, err := s.Assign(p, nil, e)
	if err != nil || text(given) != want {
		t.Fatalf("%s got %q, %v, want %q", e.Owner.ContainerID, text(given), err, want)
	}
}

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// fill assigns until the pool is used up and returns the addresses in order.
func fill(t *testing.T, s *Store, p Pool) string {
	t.Helper()
	var list []string
	for i := 0; ; i++ {
		given, err := s.Assign(p, nil, entry(fmt.Sprint("c", i)))
		if errors.Is(err, errdefs.ErrExhausted) {
			return strings.Join(list, " ")
		}
		testutil.Must(t, err)
		list = append(list, text(given))
	}
}

func TestRangesGiveEveryUsableAddressOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		set     Set
		exclude []netip.Prefix
		want    string
	}{
		"smallest":             {set: Set{mustRange(t, "10.0.0.0/30", "", "", "")}, want: "10.0.0.2"},
		"gateway in the midst": {set: Set{mustRange(t, "10.0.0.0/29", "", "", "10.0.0.3")}, want: "10.0.0.1 10.0.0.2 10.0.0.4 10.0.0.5 10.0.0.6"},
		"bounds":               {set: Set{mustRange(t, "10.0.0.0/24", "10.0.0.7", "10.0.0.9", "")}, want: "10.0.0.7 10.0.0.8 10.0.0.9"},
		"up to broadcast":      {set: Set{mustRange(t, "10.0.0.0/29", "10.0.0.5", "10.0.0.7", "")}, want: "10.0.0.5 10.0.0.6"},
		"two ranges":           {set: Set{mustRange(t, "10.0.0.0/30", "", "", ""), mustRange(t, "10.0.1.0/30", "", "", "")}, want: "10.0.0.2 10.0.1.2"},
		"IPv6 to the end":      {set: Set{mustRange(t, "fd00::/126", "", "", "")}, want: "fd00::2 fd00::3"},
		"end of IPv4":          {set: Set{mustRange(t, "255.255.255.252/30", "", "", "")}, want: "255.255.255.254"},
		"excluded": {
			set:     Set{mustRange(t, "10.0.0.0/28", "", "", "")},
			exclude: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/29"), netip.MustParsePrefix("10.0.0.10/32"), netip.MustParsePrefix("10.0.0.12/30")},
			want:    "10.0.0.8 10.0.0.9 10.0.0.11",
		},
		"excluded to the end of IPv6": {
			set:     Set{mustRange(t, "ffff:ffff:ffff:ffff::/64", "", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "")},
			exclude: []netip.Prefix{netip.MustParsePrefix("ffff:ffff:ffff:ffff:8000::/65"), netip.MustParsePrefix("ffff:ffff:ffff:ffff:4000::/66"), netip.MustParsePrefix("ffff:ffff:ffff:ffff:0::/67"), netip.MustParsePrefix("ffff:ffff:ffff:ffff:2000::/68"), netip.MustParsePrefix("ffff:ffff:ffff:ffff:3000::/69"), netip.MustParsePrefix("ffff:ffff:ffff:ffff:3800::/70")},
		},
	} {
		if name == "excluded to the end of IPv6" { // what is left has a few trillion addresses
			given, err := newStore(t).Assign(Pool{Sets: []Set{tc.set}, Exclude: tc.exclude}, nil, entry("c"))
			if err != nil || text(given) != "ffff:ffff:ffff:ffff:3c00::" {
				t.Errorf("%s: %v, %v", name, given, err)
			}
			continue
		}
		if got := fill(t, newStore(t), Pool{Sets: []Set{tc.set}, Exclude: tc.exclude}); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestFreedAddressesRest(t *testing.T) {
	s, p := newStore(t), pool(t, "10.0.0.0/29")
	for _, want := range []string{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"} {
		wantAssigned(t, s, p, entry("c"), want)
		testutil.Must(t, s.Release(owner("c")))
	}
}

func TestCooldown(t *testing.T) {
	s, p := newStore(t), pool(t, "10.0.0.0/30")
	p.Cooldown = 30 * time.Second
	now := int64(5) // soon after a boot
	s.uptime = func() (int64, error) { return now, nil }
	wantAssigned(t, s, p, podEntry("c1", "ns/web"), "10.0.0.2")
	now = 10
	testutil.Must(t, s.Release(owner("c1")))
	for _, tc := range []struct {
		now  int64
		kind error
	}{{10, errdefs.ErrExhausted}, {39, errdefs.ErrExhausted}, {40, nil}} {
		now = tc.now
		if err := s.Free(p); !errors.Is(err, tc.kind) {
			t.Errorf("Free at %d: %v", now, err)
		}
		for _, want := range [][]netip.Addr{nil, addrs("10.0.0.2")} {
			_, err := s.Assign(p, want, podEntry("c2", "ns/other"))
			if !errors.Is(err, tc.kind) {
				t.Errorf("Assign(%v) at %d: %v", want, now, err)
			}
			if err == nil {
				testutil.Must(t, s.Release(owner("c2")))
				now += 30
			}
		}
	}
	// The pod that had it need not wait.
	for range 2 {
		wantAssigned(t, s, p, podEntry("c1", "ns/web"), "10.0.0.2")
		testutil.Must(t, s.Release(owner("c1")))
	}
}

// What is forgotten when the file is made anew was freed before all that is not, and does not cool down.
func TestThin(t *testing.T) {
	var list []found
	for i := range 200 {
		list = append(list, found{Entry: Entry{Free: i > 0, Freed: int64(i)}})
	}
	for cooldown, want := range map[time.Duration]int{0: 1 + freedLeast, 100 * time.Second: 1 + 99, time.Hour: 200} {
		got := thin(list, 200, cooldown)
		if len(got) != want || got[0].Free || got[len(got)-1].Freed != int64(201-want) {
			t.Errorf("cooldown %s: %d are left, the last freed at %d; want %d", cooldown, len(got), got[len(got)-1].Freed, want)
		}
	}
}

func TestPodsGetTheirAddressBack(t *testing.T) {
	s, p := newStore(t), pool(t, "10.0.0.0/24", "fd00::/64")
	wantAssigned(t, s, p, podEntry("c1", "ns/a"), "10.0.0.2 fd00::2")
	wantAssigned(t, s, p, podEntry("c2", "ns/b"), "10.0.0.3 fd00::3")
	testutil.Must(t, errors.Join(s.Release(owner("c1")), s.Release(owner("c2"))))
	wantAssigned(t, s, p, podEntry("c3", "ns/b"), "10.0.0.3 fd00::3")
	wantAssigned(t, s, p, podEntry("c4", "ns/new"), "10.0.0.4 fd00::4") // the search goes on where it was
	wantAssigned(t, s, p, podEntry("c5", "ns/b"), "10.0.0.5 fd00::5")   // a second one of the name, while the first is there
	given, err := s.Assign(p, addrs("10.0.0.2"), podEntry("c6", "ns/other"))
	if err != nil || text(given) != "10.0.0.2 fd00::6" {
		t.Fatalf("asked for: %v, %v", given, err)
	}
	wantAssigned(t, s, p, podEntry("c7", "ns/a"), "10.0.0.6 fd00::2") // the IPv4 address is somebody else's now
}

// mortal gives an entry a namespace, which is only a file here, and returns what destroys it.
func mortal(t *testing.T, e Entry) (Entry, func()) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "ns")
	testutil.Must(t, err)
	info, err := f.Stat()
	testutil.Must(t, errors.Join(err, f.Close()))
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no inode")
	}
	e.Netns, e.NS.Inode = f.Name(), st.Ino
	return e, func() { testutil.Must(t, os.Remove(f.Name())) }
}

func TestDeadOwnersAreRobbedOnlyWhenNothingElseIsLeft(t *testing.T) {
	s, p := newStore(t), pool(t, "10.0.0.0/29")
	for i := range 5 {
		e, kill := mortal(t, podEntry(fmt.Sprint("c", i), fmt.Sprint("pod", i)))
		wantAssigned(t, s, p, e, fmt.Sprint("10.0.0.", i+2))
		if i < 4 {
			kill()
		}
	}
	wantAssigned(t, s, p, podEntry("again", "pod2"), "10.0.0.4") // but a pod's own at once
	testutil.Must(t, s.Free(p))
	given, err := s.Assign(p, addrs("10.0.0.3"), entry("asked"))
	if err != nil || text(given) != "10.0.0.3" {
		t.Fatalf("asked for a dead one's: %v, %v", given, err)
	}
	wantAssigned(t, s, p, entry("new"), "10.0.0.2")
	wantAssigned(t, s, p, entry("new2"), "10.0.0.5")
	if _, err := s.Assign(p, nil, entry("next")); !errors.Is(err, errdefs.ErrExhausted) {
		t.Fatalf("got %v", err)
	}
	if err := s.Free(p); !errors.Is(err, errdefs.ErrExhausted) {
		t.Fatalf("Free: %v", err)
	}
}

func TestWantedAddresses(t *testing.T) {
	s, p := newStore(t), pool(t, "10.0.0.0/24", "fd00::/64")
	p.Exclude = []netip.Prefix{netip.MustParsePrefix("10.0.0.20/32")}
	given, err := s.Assign(p, addrs("fd00::9", "10.0.0.9"), entry("a"))
	if err != nil || text(given) != "10.0.0.9 fd00::9" {
		t.Fatalf("got %v, %v", given, err)
	}
	before := snapshot(t, s)
	for name, tc := range map[string]struct {
		want []netip.Addr
		kind error
	}{
		"taken":            {addrs("10.0.0.9"), errdefs.ErrExists},
		"gateway":          {addrs("10.0.0.1"), errdefs.ErrInvalid},
		"excluded":         {addrs("10.0.0.20"), errdefs.ErrInvalid},
		"outside":          {addrs("10.0.1.9"), errdefs.ErrInvalid},
		"two of one set":   {addrs("10.0.0.10", "10.0.0.11"), errdefs.ErrInvalid},
		"second one taken": {addrs("10.0.0.10", "fd00::9"), errdefs.ErrExists},
	} {
		if _, err := s.Assign(p, tc.want, entry("b")); !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v", name, err)
		}
		if after := snapshot(t, s); !slices.Equal(after, before) {
			t.Errorf("%s: a failed assignment changed the entries to %v", name, after)
		}
	}
	if _, err := s.Assign(p, nil, entry("a")); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("a second time: %v", err)
	}
	if _, err := s.Assign(p, nil, entry(strings.Repeat("x", MaxID+1))); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("long ID: %v", err)
	}
}

func TestCheckSets(t *testing.T) {
	a, inA, v6 := mustRange(t, "10.0.0.0/24", "", "", ""), mustRange(t, "10.0.0.128/25", "", "", ""), mustRange(t, "fd00::/64", "", "", "")
	for name, sets := range map[string][]Set{"none": nil, "empty": {{}}, "mixed": {{a, v6}}, "overlap in a set": {{a, inA}}, "overlap of sets": {{a}, {inA}}} {
		if err := CheckSets(sets); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	testutil.Must(t, CheckSets([]Set{{a}, {v6}}))
}

func TestABootFreesEverything(t *testing.T) {
	s, p := newStore(t), pool(t, "10.0.0.0/29")
	p.Cooldown = time.Hour // of another boot's clock
	for i := range 5 {
		wantAssigned(t, s, p, podEntry(fmt.Sprint("c", i), fmt.Sprint("pod", i)), fmt.Sprint("10.0.0.", i+2))
	}
	s.boot = "another"
	if have, err := s.Of(owner("c1")); err != nil || len(have) > 0 {
		t.Fatalf("c1 has %v, %v", have, err)
	}
	wantAssigned(t, s, p, podEntry("c1", "pod1"), "10.0.0.3")
	wantAssigned(t, s, p, podEntry("c9", "pod9"), "10.0.0.2")
}

// What a power cut has left of an earlier boot's file keeps nobody from getting an address.
func TestADamagedFileOfAnEarlierBootIsVoid(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"header": func(data []byte) []byte { data[60] ^= 1; return data },
		"entry":  func(data []byte) []byte { data[len(data)-lineSize*slotsLeast] ^= 1; return data },
		"end":    func(data []byte) []byte { return data[:pageSize] },
	} {
		s, p := newStore(t), pool(t, "10.0.0.0/30")
		wantAssigned(t, s, p, entry("a"), "10.0.0.2")
		data, err := os.ReadFile(s.path())
		testutil.Must(t, err)
		testutil.Must(t, os.WriteFile(s.path(), damage(data), 0o600))
		if _, err := s.Assign(p, nil, entry("b")); !errors.Is(err, errdefs.ErrDataLoss) {
			t.Errorf("%s, same boot: %v", name, err)
		}
		s.boot = "another"
		wantAssigned(t, s, p, entry("b"), "10.0.0.2")
	}
}

func TestStoreRepairsOnlyWhatItCanExplain(t *testing.T) {
	s, p := newStore(t), pool(t, "10.0.0.0/24")
	for _, id := range []string{"a", "b", "c"} {
		_, err := s.Assign(p, nil, entry(id))
		testutil.Must(t, err)
	}
	h := table{header: header{slots: slotsLeast}}
	testutil.Must(t, os.Truncate(s.path(), h.slotAt(3)-3)) // in the midst of c's
	if _, err := s.Assign(p, nil, entry("d")); !errors.Is(err, errdefs.ErrDataLoss) || !strings.Contains(err.Error(), s.path()) {
		t.Errorf("Assign: %v", err)
	}
	if err := s.Free(p); !errors.Is(err, errdefs.ErrDataLoss) {
		t.Errorf("Free: %v", err)
	}
	if _, err := s.Of(owner("a")); !errors.Is(err, errdefs.ErrDataLoss) {
		t.Errorf("Of: %v", err)
	}
	testutil.Must(t, s.Release(owner("a")))
	if err := s.GC(map[Owner]bool{owner("a"): true, owner("c"): true}, 0); !errors.Is(err, errdefs.ErrDataLoss) {
		t.Errorf("GC with an owner that was cut off: %v", err)
	}
	testutil.Must(t, s.GC(map[Owner]bool{owner("b"): true}, 0))
	if have, err := s.Of(owner("b")); err != nil || !slices.Equal(have, addrs("10.0.0.3")) {
		t.Errorf("b has %v, %v", have, err)
	}
	wantAssigned(t, s, p, entry("d"), "10.0.0.2")
	wantAssigned(t, s, p, entry("e"), "10.0.0.4")
	if left, err := os.ReadDir(filepath.Dir(s.path())); err != nil || len(left) != 1 {
		t.Errorf("files %v, %v", left, err)
	}
}

// A file of a later program is left alone, and does not keep containers from being removed.
func TestAnotherFormatIsLeftAlone(t *testing.T) {
	s, p := newStore(t), pool(t, "10.0.0.0/24")
	wantAssigned(t, s, p, entry("a"), "10.0.0.2")
	data, err := os.ReadFile(s.path())
	testutil.Must(t, err)
	text, _ := unseal(slices.Delete(slices.Clone(data[:pageSize]), markAt, markAt+1))
	page := seal(fmt.Appendf(nil, "%-*s", markAt, strings.Replace(text, " "+fileFormat+" ", " 99 ", 1)))
	copy(data, slices.Insert(page, markAt, ' '))
	testutil.Must(t, os.WriteFile(s.path(), data, 0o600))
	_, assignErr := s.Assign(p, nil, entry("b"))
	for _, err := range []error{assignErr, s.GC(nil, 0)} {
		if !errors.Is(err, errdefs.ErrNotSupported) || !strings.Contains(err.Error(), "99") {
			t.Errorf("got %v", err)
		}
	}
	testutil.Must(t, s.Release(owner("a")))
	if now, err := os.ReadFile(s.path()); err != nil || !slices.Equal(now, data) {
		t.Errorf("the file was changed, %v", err)
	}
}
