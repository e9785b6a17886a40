package alloc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/berth-runtime/berth/internal/testutil"
)

func sameAddr(a, b netip.Addr) bool { return a == b }

// snapshot returns what the file holds, after proving that its index says the same.
func snapshot(t *testing.T, s *Store) []Entry {
	t.Helper()
	f, err := openRW(s.path())
	testutil.Must(t, err)
	tab, err := openTable(f)
	testutil.Must(t, err)
	list, err := tab.entries()
	testutil.Must(t, err)
	var entries []Entry
	chained := map[int]int{}
	for _, e := range list {
		entries = append(entries, e.Entry)
		for chain := range chains {
			key := e.key(chain)
			if key == "" {
				continue
			}
			have, err := tab.find(chain, key)
			if err != nil || !slices.Contains(have, e) || chain == byAddr && len(have) != 1 {
				t.Fatalf("chain %d of %q has %v, %v; want %v in it", chain, key, have, err, e)
			}
			chained[chain]++
		}
	}
	for chain := range chains { // and nothing else is in it
		links := 0
		for bucket := range tab.slots {
			slot, err := tab.word(tab.headAt(chain, bucket))
			for ; err == nil && slot != 0; links++ {
				slot, err = tab.word(tab.nextAt(chain, slot-1))
			}
			testutil.Must(t, err)
		}
		if links != chained[chain] {
			t.Fatalf("chain %d has %d links for %d entries", chain, links, chained[chain])
		}
	}
	testutil.Must(t, f.Close())
	return entries
}

func taken(entries []Entry) map[Owner][]netip.Addr {
	m := map[Owner][]netip.Addr{}
	for _, e := range entries {
		if !e.Free {
			m[e.Owner] = append(m[e.Owner], e.Addr)
		}
	}
	return m
}

// TestAgainstAModel does many things in any order, and compares with a map.
func TestAgainstAModel(t *testing.T) {
	s, p := newStore(t), pool(t, "10.0.0.0/25", "fd00::/64")
	random := rand.New(rand.NewPCG(1, 2))
	model := map[Owner][]netip.Addr{}
	used := map[netip.Addr]bool{}
	for range 3000 {
		o := owner(fmt.Sprint("c", random.IntN(100)))
		switch random.IntN(10) {
		case 0, 1, 2, 3:
			for _, a := range model[o] {
				delete(used, a)
			}
			delete(model, o)
			testutil.Must(t, s.Release(o))
		case 4:
			if random.IntN(20) > 0 {
				continue
			}
			valid := map[Owner]bool{}
			for o := range model {
				if random.IntN(3) > 0 {
					valid[o] = true
					continue
				}
				for _, a := range model[o] {
					delete(used, a)
				}
				delete(model, o)
			}
			testutil.Must(t, s.GC(valid, 0))
		default:
			given, err := s.Assign(p, nil, podEntry(o.ContainerID, fmt.Sprint("pod", random.IntN(150))))
			if len(model[o]) > 0 {
				if err == nil {
					t.Fatalf("%v got %v besides %v", o, given, model[o])
				}
				continue
			}
			testutil.Must(t, err)
			for _, a := range given {
				if used[a.Addr] {
					t.Fatalf("%s given twice", a.Addr)
				}
				used[a.Addr] = true
				model[o] = append(model[o], a.Addr)
			}
		}
	}
	if diff := cmp.Diff(model, taken(snapshot(t, s)), cmp.Comparer(sameAddr), cmpopts.SortSlices(netip.Addr.Less)); diff != "" {
		t.Error(diff)
	}
}

// dying is a storage of a process that is killed before a write.
type dying struct {
	storage
	left *int
}

var errKilled = errors.New("killed")

func (d dying) WriteAt(p []byte, at int64) (int, error) {
	if *d.left--; *d.left < 0 {
		return 0, errKilled
	}
	return d.storage.WriteAt(p, at)
}

// TestKilledBeforeAnyWrite kills each operation before each of its writes, and wants the next process to find what was before or
// what should be after, and nothing in between.
func TestKilledBeforeAnyWrite(t *testing.T) {
	p := pool(t, "10.0.0.0/24", "fd00::/64")
	operations := map[string]func(*Store) error{
		"assign":          func(s *Store) error { _, err := s.Assign(p, nil, podEntry("new", "pod")); return err },
		"assign a freed":  func(s *Store) error { _, err := s.Assign(p, nil, podEntry("new", "pod-gone")); return err },
		"assign a dead's": func(s *Store) error { _, err := s.Assign(p, nil, podEntry("new", "pod-dead")); return err },
		"release":         func(s *Store) error { return s.Release(owner("c1")) },
		"collect":         func(s *Store) error { return s.GC(map[Owner]bool{owner("c1"): true}, 0) },
	}
	for name, operate := range operations {
		whole := prepared(t, p)
		before := living(t, whole)
		testutil.Must(t, operate(whole))
		after := living(t, whole)
		for n := 0; ; n++ {
			s, left := prepared(t, p), n
			s.openRW = func(path string) (storage, error) {
				f, err := openRW(path)
				return dying{f, &left}, err
			}
			killed := errors.Is(operate(s), errKilled)
			s.openRW = openRW
			if _, err := s.Of(owner("c0")); err != nil { // the next process
				t.Fatalf("%s, killed before write %d: %v", name, n, err)
			}
			got := living(t, s)
			if !cmp.Equal(got, before, cmp.Comparer(sameAddr)) && !cmp.Equal(got, after, cmp.Comparer(sameAddr)) {
				t.Errorf("%s, killed before write %d: %v, neither %v nor %v", name, n, got, before, after)
			}
			if killed {
				continue
			}
			if n == 0 && name != "collect" { // which makes another file
				t.Errorf("%s was never killed", name)
			}
			break
		}
	}
}

// living leaves out the dead owner of prepared, who may lose its addresses at any time.
func living(t *testing.T, s *Store) map[Owner][]netip.Addr {
	t.Helper()
	m := taken(snapshot(t, s))
	delete(m, owner("dead"))
	return m
}

// prepared has five owners, one whose namespace is gone, and one who had an address.
func prepared(t *testing.T, p Pool) *Store {
	t.Helper()
	s := newStore(t)
	for i := range 5 {
		_, err := s.Assign(p, nil, podEntry(fmt.Sprint("c", i), fmt.Sprint("pod", i)))
		testutil.Must(t, err)
	}
	dead := podEntry("dead", "pod-dead")
	dead.Netns, dead.NS.Inode = "/no/such/namespace", 1
	_, err := s.Assign(p, nil, dead)
	testutil.Must(t, err)
	_, err = s.Assign(p, nil, podEntry("gone", "pod-gone"))
	testutil.Must(t, errors.Join(err, s.Release(owner("gone"))))
	return s
}

// counting counts calls.
type counting struct {
	storage
	calls, bytes *int
}

func (c counting) ReadAt(p []byte, at int64) (int, error) {
	*c.calls++
	*c.bytes += len(p)
	return c.storage.ReadAt(p, at)
}

func (c counting) WriteAt(p []byte, at int64) (int, error) {
	*c.calls++
	*c.bytes += len(p)
	return c.storage.WriteAt(p, at)
}

// crowded has n addresses taken.
func crowded(t testing.TB, p Pool, n int) *Store {
	t.Helper()
	s := newStore(t)
	var entries []Entry
	var last netip.Addr
	for a := range p.candidates(p.Sets[0], netip.Addr{}) {
		if len(entries) == n {
			break
		}
		e := podEntry(fmt.Sprintf("%064d", len(entries)), fmt.Sprint("pod", len(entries)))
		e.Addr, e.Of, e.Netns, e.NS = a.Addr, 1, "/run/netns/cni-01234567-89ab-cdef-0123-456789abcdef", NS{Inode: 4026531840}
		entries, last = append(entries, e), a.Addr
	}
	testutil.Must(t, s.update(true, func(tab *table, damage error) error {
		tab.last = []netip.Addr{last}
		return errors.Join(damage, s.remake(tab, entries, 0))
	}))
	return s
}

// TestWorkDoesNotGrow counts what ADD, CHECK and DEL read and write with few and with many addresses taken.
func TestWorkDoesNotGrow(t *testing.T) {
	p := pool(t, "10.0.0.0/16")
	work := func(n int) (calls, bytes int) {
		s := crowded(t, p, n)
		s.openRW = func(path string) (storage, error) {
			f, err := openRW(path)
			return counting{f, &calls, &bytes}, err
		}
		for i := range 100 {
			e := podEntry("new", fmt.Sprint("new", i))
			_, err := s.Assign(p, nil, e)
			testutil.Must(t, err)
			_, err = s.Of(e.Owner)
			testutil.Must(t, errors.Join(err, s.Release(e.Owner)))
		}
		return calls / 100, bytes / 100
	}
	fewCalls, fewBytes := work(10)
	manyCalls, manyBytes := work(10000)
	t.Logf("ADD, CHECK and DEL: %d calls and %d bytes with 10 addresses taken, %d and %d with 10000", fewCalls, fewBytes, manyCalls, manyBytes)
	if manyCalls > fewCalls*3/2 || manyBytes > fewBytes*3/2 {
		t.Error("that is more than hash chains of other lengths explain")
	}
}

func BenchmarkAssignRelease(b *testing.B) {
	p := pool(b, "10.0.0.0/16")
	for _, n := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := crowded(b, p, n)
			for b.Loop() {
				if _, err := s.Assign(p, nil, entry("x")); err != nil {
					b.Fatal(err)
				}
				if err := s.Release(owner("x")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
