package alloc

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/testutil"
)

// formerStore has the files of the CNI project's host-local, in the folder of our own file or in another.
func formerStore(t *testing.T, apart bool, files map[string]string) *Store {
	t.Helper()
	dir := t.TempDir()
	former := dir
	if apart {
		former = t.TempDir()
	}
	s, err := Open(dir, former, "net")
	testutil.Must(t, err)
	testutil.Must(t, os.Mkdir(s.former, 0o755))
	for name, content := range files {
		testutil.Must(t, os.WriteFile(filepath.Join(s.former, name), []byte(content), 0o600))
	}
	return s
}

func TestTakeOver(t *testing.T) {
	p := pool(t, "10.0.0.0/24", "fd00::/64")
	for _, apart := range []bool{false, true} {
		s := formerStore(t, apart, map[string]string{
			"10.0.0.2": "c1\r\neth0", "fd00::2": "c1\r\neth0",
			"10.0.0.3":           "old", // without an interface
			"10.0.0.4":           "",    // a crash
			"10.0.0.5":           "?? eth0",
			"10.0.0.9":           "c2\neth1",
			"last_reserved_ip.0": "10.0.0.9", "last_reserved_ip.1": "no address", "lock": "", "note": "mine",
		})
		testutil.Must(t, s.Release(owner("old"))) // the first request may be of any kind
		for o, want := range map[Owner][]netip.Addr{
			owner("c1"): addrs("10.0.0.2", "fd00::2"), owner("old"): nil, owner(unknownID): addrs("10.0.0.5"),
			{"c2", "eth1"}: addrs("10.0.0.9"),
		} {
			have, err := s.Of(o)
			slices.SortFunc(have, netip.Addr.Compare)
			if err != nil || !slices.Equal(have, want) {
				t.Errorf("%v has %v, %v, want %v", o, have, err, want)
			}
		}
		wantAssigned(t, s, p, entry("new"), "10.0.0.10 fd00::3")
		left, err := os.ReadDir(s.former)
		testutil.Must(t, err)
		var names []string
		for _, e := range left {
			names = append(names, e.Name())
		}
		want := []string{"allocations", "lock", "note"}
		if apart {
			want = want[1:]
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Error(diff)
		}
		// Later ones are not ours to judge.
		testutil.Must(t, os.WriteFile(filepath.Join(s.former, "10.0.0.11"), []byte("c3\neth0"), 0o600))
		wantAssigned(t, s, p, entry("new2"), "10.0.0.11 fd00::4")
		testutil.Must(t, s.GC(map[Owner]bool{owner("new"): true}, 0))
		if got := slices.Collect(maps.Keys(taken(snapshot(t, s)))); fmt.Sprint(got) != "[{new eth0}]" {
			t.Errorf("after GC: %v", got)
		}
	}
}

// A request for a network that has neither a file nor a former one leaves nothing behind.
func TestNothingIsMadeOfNothing(t *testing.T) {
	s := newStore(t)
	testutil.Must(t, s.Release(owner("c")))
	testutil.Must(t, s.GC(nil, 0))
	testutil.Must(t, s.Free(pool(t, "10.0.0.0/24")))
	if have, err := s.Of(owner("c")); err != nil || len(have) > 0 {
		t.Errorf("%v, %v", have, err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("%s: %v", s.dir, err)
	}
}
