package alloc

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// inNamespace gives an entry a network namespace of its own.
func inNamespace(t *testing.T, e Entry) Entry {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ns")
	pins, err := netns.Create(t.Context(), netns.Config{Dir: dir, Net: true})
	testutil.Must(t, err)
	t.Cleanup(func() { testutil.Must(t, netns.Remove(context.WithoutCancel(t.Context()), dir)) })
	ns, err := netns.Open(pins.Net)
	testutil.Must(t, err)
	e.Netns = pins.Net
	e.NS.Inode, err = ns.Inode()
	testutil.Must(t, err)
	e.NS.Cookie, err = ns.Cookie()
	testutil.Must(t, err)
	testutil.Must(t, ns.Close())
	return e
}

// The next namespace at a path often has the number of the last one's inode, and its owner has nothing to do with the last one's.
func TestSuccessorOfALostNamespace(t *testing.T) {
	testutil.RequireRoot(t)
	s, p := newStore(t), pool(t, "10.0.0.0/30")
	lost := inNamespace(t, entry("lost"))
	lost.NS.Cookie++
	wantAssigned(t, s, p, lost, "10.0.0.2")
	alive := inNamespace(t, entry("alive"))
	wantAssigned(t, s, p, alive, "10.0.0.2")
	if _, err := s.Assign(p, nil, entry("next")); err == nil {
		t.Error("an address in use is given to another")
	}
	alive.NS.Cookie = 0 // recorded by an earlier release
	if !Alive(alive) {
		t.Error("an owner without a cookie is dead")
	}
}

// A file of the last format, which had no cookies, is read and changed as it is.
func TestLastFormat(t *testing.T) {
	s, p := newStore(t), pool(t, "10.0.0.0/24")
	a := entry("a")
	a.Netns, a.NS.Inode = "/no/such/namespace", 4026531840
	wantAssigned(t, s, p, a, "10.0.0.2")
	data, err := os.ReadFile(s.path())
	testutil.Must(t, err)
	h, _, err := decodeHeader(data[:pageSize])
	testutil.Must(t, err)
	text, _ := unseal(slices.Delete(slices.Clone(data[:pageSize]), markAt, markAt+1))
	page := seal(fmt.Appendf(nil, "%-*s", markAt, strings.Replace(text, " "+fileFormat+" ", " 2 ", 1)))
	copy(data, slices.Insert(page, markAt, ' '))
	line := data[h.slotAt(0):h.slotAt(1)]
	text, _ = unseal(line)
	copy(line, seal(fmt.Appendf(nil, "%-*s", bodySize, strings.Replace(text, "/0 ", " ", 1))))
	testutil.Must(t, os.WriteFile(s.path(), data, 0o600))

	wantAssigned(t, s, p, entry("b"), "10.0.0.3")
	for id, want := range map[string]string{"a": "10.0.0.2", "b": "10.0.0.3"} {
		if have, err := s.Of(owner(id)); err != nil || !slices.Equal(have, addrs(want)) {
			t.Errorf("%s has %v, %v", id, have, err)
		}
	}
	if list := snapshot(t, s); len(list) != 2 || list[0].NS != a.NS || list[0].Netns != a.Netns {
		t.Errorf("the file has %+v", list)
	}
}
