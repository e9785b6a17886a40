package userns_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/userns"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func sample() userns.Mappings {
	return userns.Mappings{
		UIDs: []userns.Mapping{{ContainerID: 0, HostID: 100000, Size: 1000}, {ContainerID: 1000, HostID: 5, Size: 1}},
		GIDs: []userns.Mapping{{ContainerID: 0, HostID: 200000, Size: 65536}},
	}
}

func TestMakeAndRead(t *testing.T) {
	testutil.RequireRoot(t)
	want := sample()
	n, err := userns.Make(want, userns.Kinds{Net: true, UTS: true})
	testutil.Must(t, err)
	defer n.Close()
	if n.Net == nil || n.UTS == nil || n.IPC != nil {
		t.Errorf("namespaces %+v", n)
	}
	got, err := userns.Read(n.User)
	testutil.Must(t, err)
	if !got.Equal(want) {
		t.Errorf("mappings %+v", got)
	}
	if id, ok := got.HostUID(1000); id != 5 || !ok {
		t.Errorf("user 1000 is %d, %t", id, ok)
	}
	if id, ok := got.HostUID(1001); ok {
		t.Errorf("user 1001 is %d", id)
	}
	if id, ok := got.HostGID(65535); id != 265535 || !ok {
		t.Errorf("group 65535 is %d, %t", id, ok)
	}
}

func TestManyAtOnce(t *testing.T) {
	testutil.RequireRoot(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			n, err := userns.Make(sample(), userns.Kinds{IPC: true})
			if err != nil {
				t.Error(err)
				return
			}
			if m, err := userns.Read(n.User); err != nil || !m.Equal(sample()) {
				t.Errorf("%+v, %v", m, err)
			}
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestReadRefuses(t *testing.T) {
	testutil.RequireRoot(t)
	for _, path := range []string{"/proc/self/ns/user", "/proc/self/ns/net", "/dev/null"} { // its own can't be entered
		f, err := os.Open(path)
		testutil.Must(t, err)
		if m, err := userns.Read(f); err == nil || !strings.Contains(err.Error(), "enter the user namespace: invalid argument") {
			t.Errorf("%s: %+v, %v", path, m, err)
		}
		testutil.Must(t, f.Close())
	}
}

func TestCheck(t *testing.T) {
	good := []userns.Mapping{{HostID: 1000, Size: 10}}
	long := make([]userns.Mapping, 341)
	for i := range long {
		long[i] = userns.Mapping{ContainerID: uint32(i), HostID: uint32(i), Size: 1}
	}
	wide := make([]userns.Mapping, 200)
	for i := range wide {
		wide[i] = userns.Mapping{ContainerID: 4e9 + uint32(i), HostID: 4e9 + uint32(i), Size: 1}
	}
	for _, c := range []struct {
		name string
		m    userns.Mappings
		want string
	}{
		{"none", userns.Mappings{GIDs: good}, "linux.uidMappings: no mapping"},
		{"no groups", userns.Mappings{UIDs: good}, "linux.gidMappings: no mapping"},
		{"empty range", userns.Mappings{UIDs: []userns.Mapping{{}}, GIDs: good}, "linux.uidMappings[0]: "},
		{"beyond 32 bits", userns.Mappings{UIDs: good, GIDs: []userns.Mapping{{ContainerID: 4294967295, Size: 1}}}, "linux.gidMappings[0]: "},
		{"host IDs twice", userns.Mappings{UIDs: good, GIDs: []userns.Mapping{{HostID: 5, Size: 10}, {ContainerID: 20, HostID: 14, Size: 1}}}, "linux.gidMappings[1]: overlaps"},
		{"container IDs twice", userns.Mappings{UIDs: []userns.Mapping{{HostID: 5, Size: 10}, {ContainerID: 9, HostID: 15, Size: 1}}, GIDs: good}, "linux.uidMappings[1]: overlaps"},
		{"too many", userns.Mappings{UIDs: long, GIDs: good}, "linux.uidMappings: 341 mappings"},
		{"too long", userns.Mappings{UIDs: wide, GIDs: good}, "linux.uidMappings: 4800 bytes"},
	} {
		if err := c.m.Check("linux."); !errors.Is(err, errdefs.ErrInvalid) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	testutil.Must(t, userns.Mappings{UIDs: good, GIDs: good}.Check(""))
}

func BenchmarkMake(b *testing.B) {
	for b.Loop() {
		n, err := userns.Make(sample(), userns.Kinds{})
		testutil.Must(b, err)
		testutil.Must(b, n.Close())
	}
}
