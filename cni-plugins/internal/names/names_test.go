package names

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func TestAliases(t *testing.T) {
	for text, want := range map[string]string{
		``: "[]", `null`: "[]", `[]`: "[]", `{}`: "[]", `{"other":["x"]}`: "[]",
		`["db","DB","a.b-c.1x"]`:         "[db a.b-c.1x]",
		`{"net":["db"],"other":["a b"]}`: "[db]",
	} {
		if got, err := ParseAliases([]byte(text), "net"); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		`"db"`, `[1]`, `{"net":"db"}`, `[""]`, `["a b"]`, `["a\nb"]`, `["a#"]`, `["-a"]`, `["a-"]`, `["a..b"]`, `["a."]`, `["a_b"]`, `["ä"]`, `["10.0.0.1"]`,
		`["` + strings.Repeat("a", 64) + `"]`, `["` + strings.Repeat("a.", 127) + `a"]`, `["x"` + strings.Repeat(`,"x"`, 64) + `]`,
	} {
		if _, err := ParseAliases([]byte(text), "net"); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for want, got := range map[string][]string{
		"[]": WithPod(nil, "web", "shop"), "[web.shop web db]": WithPod([]string{"db", "web"}, "web", "shop"), "[db]": WithPod([]string{"db"}, "no_host_name", ""),
		"[web db]": WithPod([]string{"db"}, "Web", ""),
	} {
		if fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
}

func (f File) text(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(f.path())
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

func TestLifeOfNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hosts")
	f := Open(dir, "net")
	four, six := netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("fd09::2")
	testutil.Must(t, errors.Join(f.Remove("a:eth0"), f.Set("a:eth0", []netip.Addr{four}, nil), f.Collect(nil), f.Check("a:eth0", nil, nil)))
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Fatalf("without names there is a folder: %v", err)
	}
	for range 2 {
		testutil.Must(t, errors.Join(f.Set("a:eth0", []netip.Addr{four, six}, []string{"web", "db"}), f.Check("a:eth0", []netip.Addr{four, six}, []string{"web", "db"})))
		if got := f.text(t); got != "10.9.0.2 web db # a:eth0\nfd09::2 web db # a:eth0\n" {
			t.Fatal(got)
		}
	}
	if err := f.Check("a:eth0", []netip.Addr{four}, []string{"web"}); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("another name: %v", err)
	}
	b := netip.MustParseAddr("10.9.0.3")
	testutil.Must(t, errors.Join(f.Set("b:eth0", []netip.Addr{b}, []string{"web"}), f.Set("c:eth0", []netip.Addr{six}, nil)))
	if got := f.text(t); got != "10.9.0.2 web db # a:eth0\n10.9.0.3 web # b:eth0\n" {
		t.Errorf("an address went to one without names: %s", got)
	}
	testutil.Must(t, errors.Join(f.Remove("a:eth0"), f.Remove("a:eth0")))
	if got := f.text(t); got != "10.9.0.3 web # b:eth0\n" {
		t.Error(got)
	}
	testutil.Must(t, f.Collect([]string{"b:eth0"}))
	if got := f.text(t); got != "10.9.0.3 web # b:eth0\n" {
		t.Error(got)
	}
	testutil.Must(t, f.Collect(nil))
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// Names that no file can have are no reason to hold up the end of a container.
func TestNetworkWithALongName(t *testing.T) {
	f := Open(t.TempDir(), strings.Repeat("n", 300))
	testutil.Must(t, errors.Join(f.Remove("a:eth0"), f.Set("a:eth0", nil, nil), f.Collect(nil)))
}

// What people write into the file stays.
func TestForeignLinesStay(t *testing.T) {
	f := Open(t.TempDir(), "net")
	testutil.Must(t, os.MkdirAll(f.dir, 0o755))
	testutil.Must(t, os.WriteFile(f.path(), []byte("# by hand # x:y\n10.9.0.1 gateway # the bridge\n10.9.0.2 other"), 0o644))
	testutil.Must(t, f.Set("a:eth0", []netip.Addr{netip.MustParseAddr("10.9.0.2")}, []string{"web"}))
	testutil.Must(t, f.Collect(nil))
	if got := f.text(t); got != "# by hand # x:y\n10.9.0.1 gateway # the bridge\n10.9.0.2 other\n" {
		t.Error(got)
	}
}

func TestNamesAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hosts")
	var wg sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		wg.Go(func() {
			f, owner := Open(dir, "net"), fmt.Sprintf("c%d:eth0", i)
			addr := netip.AddrFrom4([4]byte{10, 9, 1, byte(i)})
			errs[i] = f.Set(owner, []netip.Addr{addr}, []string{"web"})
			if i%2 == 0 {
				errs[i] = errors.Join(errs[i], f.Remove(owner))
			}
		})
	}
	wg.Wait()
	testutil.Must(t, errors.Join(errs...))
	if n := strings.Count(Open(dir, "net").text(t), "\n"); n != 25 {
		t.Errorf("%d lines", n)
	}
}

func FuzzAliases(f *testing.F) {
	f.Add([]byte(`{"net":["db"]}`))
	f.Add([]byte(`["a.b"]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseAliases(data, "net")
		for _, n := range list {
			if err == nil && (strings.ContainsAny(n, " #\n\t:") || n == "") {
				t.Fatalf("%q", n)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("10.9.0.2 web # a:eth0\n\n#x\n ::1 # # ")
	f.Fuzz(func(t *testing.T, text string) {
		list := parse(text)
		if again := parse(strings.Join(texts(list), "")); !slices.Equal(list, again) {
			t.Fatalf("%q\n%q", list, again)
		}
	})
}

func texts(list []line) (out []string) {
	for _, l := range list {
		out = append(out, l.text)
	}
	return out
}
