package resctrl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// newFake returns a folder that behaves like resctrl: a new folder has its files at once, and one that goes takes them along.
// No machine of the suite has hardware for the real one.
func newFake(t *testing.T) (*FS, string) {
	t.Helper()
	root := t.TempDir()
	testutil.Must(t, populate(root))
	s := At(root)
	s.mkdir = func(d *sys.Dir, name string) error {
		if err := d.Mkdir(name, 0o755); err != nil {
			return err
		}
		return populate(d.Path() + "/" + name)
	}
	s.rmdir = func(d *sys.Dir, name string) error {
		if _, err := os.Stat(d.Path() + "/" + name); err != nil {
			return err
		}
		return os.RemoveAll(d.Path() + "/" + name)
	}
	return s, root
}

func populate(dir string) error {
	return errors.Join(
		os.WriteFile(dir+"/schemata", []byte("    L3:0=fffff;1=fffff\n    MB:0=100;1=100\n"), 0o644),
		os.WriteFile(dir+"/tasks", nil, 0o644),
		os.MkdirAll(dir+"/mon_groups", 0o755),
	)
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	testutil.Must(t, err)
	return string(data)
}

func exists(parts ...string) bool {
	_, err := os.Stat(filepath.Join(parts...))
	return err == nil
}

func TestOwnClass(t *testing.T) {
	s, root := newFake(t)
	g, err := s.Create("c1", Config{Schemata: []string{"L3:0=f", "MB:0=20"}, Monitoring: true})
	testutil.Must(t, err)
	// Each line is a write of its own; the fake keeps what was written over the beginning of its content last.
	if got := read(t, root, "c1/schemata"); !strings.HasPrefix(got, "MB:0=20\n") {
		t.Errorf("schemata %q", got)
	}
	files, err := g.JoinFiles()
	testutil.Must(t, err)
	for _, f := range files {
		_, err := f.WriteString("0")
		testutil.Must(t, errors.Join(err, f.Close()))
	}
	for _, tasks := range []string{"c1/tasks", "c1/mon_groups/c1/tasks"} {
		if read(t, root, tasks) != "0" {
			t.Errorf("%s was not joined", tasks)
		}
	}
	for range 2 {
		testutil.Must(t, g.Remove())
	}
	if exists(root, "c1") {
		t.Error("it is left")
	}
}

func TestNamedClass(t *testing.T) {
	s, root := newFake(t)
	if _, err := s.Create("c1", Config{ClosID: "gold"}); !errors.Is(err, errdefs.ErrNotFound) {
		t.Fatalf("a class that is neither there nor described: %v", err)
	}
	g, err := s.Create("c1", Config{ClosID: "gold", Schemata: []string{"L3:0=0f"}, Monitoring: true})
	testutil.Must(t, err)
	testutil.Must(t, os.WriteFile(root+"/gold/schemata", []byte("    MB:0=100;1=100\n    L3:0=0000f;1=fffff\n"), 0o644))
	for _, c := range []struct {
		lines []string
		kind  error
	}{
		{nil, nil},
		{[]string{"L3:0=f"}, nil},
		{[]string{"L3: 1=FFFFF ; 0=0f", "MB:1=100"}, nil},
		{[]string{"L3:0=ff"}, errdefs.ErrFailedPrecondition},
		{[]string{"L3:2=f"}, errdefs.ErrFailedPrecondition},
		{[]string{"L2:0=f"}, errdefs.ErrFailedPrecondition},
	} {
		if _, err := s.Create("c2", Config{ClosID: "gold", Schemata: c.lines}); !errors.Is(err, c.kind) {
			t.Errorf("%q: %v, want %v", c.lines, err, c.kind)
		}
	}
	testutil.Must(t, g.Remove())
	if !exists(root, "gold") || exists(root, "gold/mon_groups/c1") {
		t.Error("the class is gone, or the monitoring group is not")
	}
}

func TestUpdate(t *testing.T) {
	s, root := newFake(t)
	g, err := s.Create("c1", Config{})
	testutil.Must(t, err)
	// Printed and written lines are of one length here: the fake keeps what a shorter one does not overwrite.
	const before, after = "L3:0=fffff;1=fffff\n", "L3:0=0000f;1=000ff\n"
	testutil.Must(t, os.WriteFile(root+"/c1/schemata", []byte(before), 0o644))
	undo, err := g.Update([]string{strings.TrimSpace(after)})
	testutil.Must(t, err)
	if got := read(t, root, "c1/schemata"); got != after {
		t.Errorf("schemata %q", got)
	}
	testutil.Must(t, undo())
	if got := read(t, root, "c1/schemata"); got != before {
		t.Errorf("schemata after undo: %q", got)
	}
	for _, none := range []*Group{nil, s.Group("c2", Config{ClosID: "/"})} {
		if _, err := none.Update([]string{"L3:0=f"}); !errors.Is(err, errdefs.ErrFailedPrecondition) {
			t.Errorf("update of a container without a class: %v", err)
		}
	}
}

func TestDefaultClass(t *testing.T) {
	s, root := newFake(t)
	g, err := s.Create("c1", Config{ClosID: "/", Monitoring: true})
	testutil.Must(t, err)
	if !exists(root, "mon_groups/c1") || exists(root, "c1") {
		t.Error("the monitoring group is not in the default class")
	}
	testutil.Must(t, g.Remove())
	if exists(root, "mon_groups/c1") {
		t.Error("the monitoring group is left")
	}
}

func TestCreateUndoes(t *testing.T) {
	s, root := newFake(t)
	mkdir := s.mkdir
	s.mkdir = func(d *sys.Dir, name string) error {
		if strings.HasSuffix(d.Path(), "/mon_groups") || exists(root, "c1") {
			return os.ErrPermission // as when the hardware has no monitors left
		}
		return mkdir(d, name)
	}
	if _, err := s.Create("c1", Config{Monitoring: true}); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "monitoring group c1") {
		t.Errorf("error %v", err)
	}
	if exists(root, "c1") {
		t.Error("the class is left")
	}
	for _, id := range []string{"info", "mon_data"} {
		if _, err := s.Create(id, Config{}); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("a container called %s: %v", id, err)
		}
	}
}

func TestMountOf(t *testing.T) {
	const info = "25 1 0:22 / /sys rw - sysfs sysfs rw\n30 25 0:30 / /sys/fs/resctrl rw,relatime shared:5 - resctrl resctrl rw\n"
	if got := mountOf(info); got != "/sys/fs/resctrl" {
		t.Errorf("found %q", got)
	}
	for _, other := range []string{"", "x", "30 25 0:30 /sub /mnt rw - resctrl resctrl rw\n", "25 1 0:22 / /sys rw - sysfs resctrl rw\n"} {
		if got := mountOf(other); got != "" {
			t.Errorf("%q: found %q", other, got)
		}
	}
}

// A schema is refused, or a group with just this schema agrees with it.
func FuzzSchema(f *testing.F) {
	f.Add("L3:0=f;1=ff")
	f.Add("MB: 0 = 10 ;1=0020")
	f.Fuzz(func(t *testing.T, line string) {
		mountOf(line)
		if CheckSchema(line, "") != nil {
			return
		}
		if strings.Contains(line, "\n") {
			t.Fatalf("two lines: %q", line)
		}
		repeated := map[string]int{}
		for part := range strings.SplitSeq(line[strings.Index(line, ":")+1:], ";") {
			domain, _, _ := strings.Cut(part, "=")
			repeated[strings.TrimSpace(domain)]++
		}
		ok, err := agrees(line, line)
		if err != nil || !ok && len(repeated) == strings.Count(line, ";")+1 {
			t.Fatalf("%q: %t, %v", line, ok, err)
		}
	})
}
