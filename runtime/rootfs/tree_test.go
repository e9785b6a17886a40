package rootfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/runtime/rootfs"
)

// treeRoot has folders, files and links of all sorts.
func treeRoot(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"a/b/c", "proc", "dev"} {
		testutil.Must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	testutil.Must(t, os.WriteFile(dir+"/a/file", nil, 0o600))
	for link, target := range map[string]string{
		"up": "../../..", "abs": "/a/b", "rel": "a/b", "chain": "/abs/../b", "loop": "loop", "dangling": "/x/y",
		"tofile": "a/file", "a/b/out": "/../../a", "empty": ".", "toproc": "/proc/1",
	} {
		testutil.Must(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	return dir
}

func TestFind(t *testing.T) {
	tree := rootfs.NewTree(open(t, treeRoot(t)), rootfs.Owner{})
	for path, expect := range map[string]rootfs.Place{
		"/":                  {Path: "/", Exists: true, Dir: true},
		"/a/b":               {Path: "/a/b", Exists: true, Dir: true},
		"a//./b/":            {Path: "/a/b", Exists: true, Dir: true},
		"/a/file":            {Path: "/a/file", Exists: true},
		"/../../a":           {Path: "/a", Exists: true, Dir: true},
		"/up/a":              {Path: "/a", Exists: true, Dir: true},
		"/abs/c":             {Path: "/a/b/c", Exists: true, Dir: true},
		"/rel/../file":       {Path: "/a/file", Exists: true},
		"/chain":             {Path: "/a/b", Exists: true, Dir: true},
		"/tofile":            {Path: "/a/file", Exists: true},
		"/a/b/out/b/out/b":   {Path: "/a/b", Exists: true, Dir: true},
		"/empty/empty/a":     {Path: "/a", Exists: true, Dir: true},
		"/dangling":          {Path: "/x/y", Dir: true},
		"/none/of/these":     {Path: "/none/of/these", Dir: true},
		"/dangling/deep/../": {Path: "/x/y", Exists: false, Dir: true},
	} {
		got, err := tree.Find(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		expect.Mount = "/"
		if path == "/dangling/deep/../" { // what ".." of nothing is does not matter, as long as it is inside
			got.Exists = false
		}
		if diff := cmp.Diff(expect, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	for path, errno := range map[string]error{
		"/loop": syscall.ELOOP, "/a/file/x": syscall.ENOTDIR, "/tofile/..": syscall.ENOTDIR, "/" + strings.Repeat("x", 300): syscall.ENAMETOOLONG,
		"/" + strings.Repeat("x/", 3000): errdefs.ErrInvalid, "/a\x00b": errdefs.ErrInvalid,
	} {
		if got, err := tree.Find(path); !errors.Is(err, errno) {
			t.Errorf("%.20s: %+v, error %v, want %v", path, got, err, errno)
		}
	}
}

func TestMake(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := treeRoot(t)
	tree := rootfs.NewTree(open(t, dir), rootfs.Owner{})
	for _, c := range []struct {
		path, real string
		dir        bool
	}{
		{"/new/deep/folder", "new/deep/folder", true},
		{"/abs/new/file", "a/b/new/file", false},
		{"/dangling", "x/y", true},
		{"/up/../../up/other", "other", false},
		{"/a/file", "a/file", false},
	} {
		if _, err := tree.Make(c.path, c.dir); err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		info, err := os.Lstat(filepath.Join(dir, c.real))
		if err != nil || info.IsDir() != c.dir {
			t.Errorf("%s: %v %v", c.path, info, err)
			continue
		}
		if mode := info.Mode().Perm(); c.path != "/a/file" && mode != map[bool]fs.FileMode{true: 0o755, false: 0o644}[c.dir] {
			t.Errorf("%s: mode %v", c.path, mode)
		}
	}
	for path, dir := range map[string]bool{"/a/file": true, "/a/b": false, "/tofile": true} {
		if _, err := tree.Make(path, dir); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestMountsInATree(t *testing.T) {
	volume := t.TempDir()
	testutil.Must(t, os.MkdirAll(volume+"/sub", 0o755))
	testutil.Must(t, os.Symlink("/a/file", volume+"/link"))
	tree := rootfs.NewTree(open(t, treeRoot(t)), rootfs.Owner{})
	testutil.Must(t, tree.Mount("/a/b", open(t, volume), rootfs.Owner{}))
	tree.MountKernel("/proc")
	tree.MountFresh("/dev")
	for path, expect := range map[string]rootfs.Place{
		"/a/b/sub":        {Path: "/a/b/sub", Exists: true, Dir: true, Mount: "/a/b"},
		"/rel/link":       {Path: "/a/file", Exists: true, Mount: "/"},
		"/a/b/c":          {Path: "/a/b/c", Dir: true, Mount: "/a/b"},
		"/proc":           {Path: "/proc", Exists: true, Dir: true, Mount: "/proc", Kernel: true},
		"/proc/self/x/..": {Path: "/proc/self", Mount: "/proc", Kernel: true},
		"/toproc/fd":      {Path: "/proc/1/fd", Mount: "/proc", Kernel: true},
		"/dev":            {Path: "/dev", Exists: true, Dir: true, Mount: "/dev", Fresh: "/dev"},
		"/dev/pts":        {Path: "/dev/pts", Mount: "/dev", Fresh: "/dev"},
	} {
		got, err := tree.Find(path)
		testutil.Must(t, err)
		if diff := cmp.Diff(expect, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	if _, err := tree.Make("/a/b/made/here", true); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(volume + "/made/here"); err != nil {
		t.Error(err)
	}
	// A later mount hides what is below it.
	testutil.Must(t, tree.Mount("/a", open(t, t.TempDir()), rootfs.Owner{}))
	if got, err := tree.Find("/a/b/sub"); err != nil || got.Exists {
		t.Errorf("below a later mount: %+v %v", got, err)
	}
}

// Whatever the path and the links are, resolving ends, and nothing outside of the root is made or found.
func FuzzTree(f *testing.F) {
	f.Add("/l/x", "../../outside", true)
	f.Add("/l/l/l", "/l/..", false)
	f.Add("l/../../l", "a/../b", true)
	f.Fuzz(func(t *testing.T, path, link string, dir bool) {
		top := t.TempDir()
		testutil.Must(t, os.MkdirAll(top+"/root/a", 0o755))
		if os.Symlink(link, top+"/root/l") != nil {
			t.Skip()
		}
		place, err := rootfs.NewTree(open(t, top+"/root"), rootfs.Owner{}).Make(path, dir)
		entries, readErr := os.ReadDir(top)
		testutil.Must(t, readErr)
		if len(entries) != 1 {
			t.Fatalf("made outside: %v", entries)
		}
		if err != nil {
			return
		}
		if place.Path != filepath.Clean("/"+place.Path) {
			t.Fatalf("place %q", place.Path)
		}
		if info, err := os.Lstat(filepath.Join(top, "root", place.Path)); err != nil || info.IsDir() != dir {
			t.Fatalf("place %q: %v %v", place.Path, info, err)
		}
	})
}

func TestReadFile(t *testing.T) {
	r := root(t, map[string]string{"f": "12345"})
	if data, err := rootfs.ReadFile(r, "/f", 5); err != nil || string(data) != "12345" {
		t.Errorf("%q %v", data, err)
	}
	if _, err := rootfs.ReadFile(r, "f", 4); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("too large: %v", err)
	}
	if _, err := rootfs.ReadFile(r, "/none", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if info, err := rootfs.Stat(r, "/f"); err != nil || info.Size() != 5 {
		t.Errorf("%v %v", info, err)
	}
}
